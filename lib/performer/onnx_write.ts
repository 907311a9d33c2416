import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { expected } from '../errors.js';
import { sizeOf, type Shape } from '../engine/tensor.js';
import {
  AttributeSchema,
  AttributeType,
  DataType,
  ModelSchema,
  TensorSchema,
  type AttributeProto,
  type ModelProto,
  type TensorProto,
} from './onnx_proto.js';

/** A tensor of a model: float32 data, or integers as int64. */
export interface TensorSpec {
  dims: Shape;
  data: Float32Array | BigInt64Array;
}

/** Integers are written as INT, other numbers as FLOAT; say `{ float: 1 }` for a whole float. */
export type AttributeValue =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly tensor: TensorSpec };

export interface NodeSpec {
  opType: string;
  name: string;
  inputs: readonly string[];
  outputs: readonly string[];
  attributes?: Readonly<Record<string, AttributeValue>>;
}

/** A graph input or output; a string is an open dimension such as `'N'`. */
export interface ValueSpec {
  name: string;
  dims: readonly (number | string)[];
}

export interface ModelSpec {
  /** Opset of the default domain, default 13. */
  opset?: number;
  /** Default 8. */
  irVersion?: number;
  graphName?: string;
  inputs: readonly ValueSpec[];
  outputs: readonly ValueSpec[];
  nodes: readonly NodeSpec[];
  initializers: Readonly<Record<string, TensorSpec>>;
  /** Key and value pairs kept in the file. */
  metadata?: Readonly<Record<string, string>>;
}

/** The bytes of an ONNX file: float32, weights inline. Throws `E_SHAPE` when data and dims disagree. */
export function encodeModel(spec: ModelSpec): Uint8Array {
  return toBinary(ModelSchema, buildModel(spec));
}

/** An ONNX model as a message, to be changed before `toBinary`. */
export function buildModel(spec: ModelSpec): ModelProto {
  const { opset = 13, irVersion = 8, graphName = 'partlens', metadata = {} } = spec;
  return create(ModelSchema, {
    irVersion: BigInt(irVersion),
    producerName: 'partlens',
    opsetImport: [{ domain: '', version: BigInt(opset) }],
    metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
    graph: {
      name: graphName,
      node: spec.nodes.map(({ opType, name, inputs, outputs, attributes = {} }) => ({
        opType,
        name,
        input: [...inputs],
        output: [...outputs],
        attribute: Object.entries(attributes).map(([key, value]) => attributeOf(key, value)),
      })),
      initializer: Object.entries(spec.initializers).map(([name, tensor]) =>
        tensorOf(name, tensor),
      ),
      input: spec.inputs.map(valueOf),
      output: spec.outputs.map(valueOf),
    },
  });
}

function valueOf({ name, dims }: ValueSpec) {
  const dim = dims.map((size) =>
    typeof size === 'number' ? { dimValue: BigInt(size) } : { dimParam: size },
  );
  return { name, type: { tensorType: { elemType: DataType.FLOAT, shape: { dim } } } };
}

function tensorOf(name: string, { dims, data }: TensorSpec): TensorProto {
  if (sizeOf(dims) !== data.length) {
    const what = `${String(sizeOf(dims))} values of shape (${dims.join(', ')})`;
    throw expected(what, name, data, { op: 'encodeModel', code: 'E_SHAPE' });
  }
  return create(TensorSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: data instanceof Float32Array ? DataType.FLOAT : DataType.INT64,
    rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  });
}

/** An attribute of a node. */
export function attributeOf(name: string, value: AttributeValue): AttributeProto {
  const make = (rest: MessageInitShape<typeof AttributeSchema>): AttributeProto =>
    create(AttributeSchema, { name, ...rest });
  if (typeof value === 'string') {
    return make({ type: AttributeType.STRING, s: new TextEncoder().encode(value) });
  }
  if (typeof value === 'number') {
    if (Number.isInteger(value)) return make({ type: AttributeType.INT, i: BigInt(value) });
    return make({ type: AttributeType.FLOAT, f: value });
  }
  if ('float' in value) return make({ type: AttributeType.FLOAT, f: value.float });
  if ('floats' in value) return make({ type: AttributeType.FLOATS, floats: [...value.floats] });
  if ('tensor' in value) {
    return make({ type: AttributeType.TENSOR, t: tensorOf('', value.tensor) });
  }
  return make({ type: AttributeType.INTS, ints: value.map(BigInt) });
}
