import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import type { AttributeProto, TensorProto } from '../../lib/performer/onnx_proto.js';
import { DataType, ModelSchema, TensorSchema } from '../../lib/performer/onnx_proto.js';
import { orderNodes } from '../../lib/performer/onnx_graph.js';
import type { OnnxModel, OnnxNode } from '../../lib/performer/onnx_model.js';
import type { Constant } from '../../lib/performer/onnx_tensor.js';
import { attributeOf, type AttributeValue } from '../../lib/performer/onnx_write.js';
import { loadOnnxRuntime } from './onnxruntime.js';

/** Numbers with an element type, as an input or initializer of a test model. */
export interface Numbers {
  dims: readonly number[];
  data: readonly number[];
  type?: number;
}

/** One node over given inputs; undefined stands for an input left out. */
export interface NodeCase {
  opType: string;
  opset?: number;
  inputs: readonly (Numbers | undefined)[];
  attributes?: Readonly<Record<string, AttributeValue>>;
  /** Number of outputs, default 1. */
  outputs?: number;
}

const { FLOAT, INT64, BOOL, UINT8, INT8, INT32 } = DataType;

/** A tensor with its data in the typed field, whatever its type. */
export function tensorOf(name: string, { dims, data, type = FLOAT }: Numbers): TensorProto {
  const fields: MessageInitShape<typeof TensorSchema> =
    type === FLOAT
      ? { floatData: [...data] }
      : type === INT64
        ? { int64Data: data.map(BigInt) }
        : { int32Data: [...data] };
  return create(TensorSchema, { name, dims: dims.map(BigInt), dataType: type, ...fields });
}

/** The node of a case as this package reads it. */
export function nodeOf({
  opType,
  opset = 17,
  inputs,
  attributes,
  outputs = 1,
}: NodeCase): OnnxNode {
  const list = Object.entries(attributes ?? {});
  return {
    name: `${opType}_node`,
    opType,
    opset,
    domain: '',
    inputs: inputs.map((one, i) => (one ? `in${String(i)}` : '')),
    outputs: Array.from({ length: outputs }, (_, i) => `out${String(i)}`),
    attributes: new Map<string, AttributeProto>(
      list.map(([key, value]) => [key, attributeOf(key, value)]),
    ),
  };
}

/** Outputs of a case in onnxruntime, where the inputs are initializers. */
export async function runNode(
  one: NodeCase,
): Promise<{ dims: readonly number[]; data: number[] }[]> {
  const node = nodeOf(one);
  const model = create(ModelSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: '', version: BigInt(node.opset) }],
    graph: {
      name: 'case',
      node: [
        {
          opType: node.opType,
          input: [...node.inputs],
          output: [...node.outputs],
          attribute: [...node.attributes.values()],
        },
      ],
      initializer: one.inputs.flatMap((input, i) =>
        input ? [tensorOf(`in${String(i)}`, input)] : [],
      ),
      output: node.outputs.map((name) => ({ name })),
    },
  });
  const results = await run(toBinary(ModelSchema, model), {});
  return node.outputs.map((name) => results[name] ?? { dims: [], data: [] });
}

type Feeds = Readonly<Record<string, { dims: readonly number[]; data: Float32Array }>>;

/** Runs a model in onnxruntime without its own rewriting of the graph. */
export async function run(
  bytes: Uint8Array,
  feeds: Feeds,
): Promise<Record<string, { dims: readonly number[]; data: number[] }>> {
  const runtime = await loadOnnxRuntime();
  if (!runtime) throw new Error('onnxruntime-node is not installed');
  const session = await runtime.InferenceSession.create(bytes, {
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
    graphOptimizationLevel: 'disabled',
  });
  const tensors: Record<string, InstanceType<typeof runtime.Tensor>> = {};
  for (const [name, { dims, data }] of Object.entries(feeds)) {
    tensors[name] = new runtime.Tensor('float32', data, [...dims]);
  }
  const results = await session.run(tensors);
  await session.release();
  return Object.fromEntries(
    Object.entries(results).map(([name, { dims, data }]) => [
      name,
      { dims, data: Array.from(data as ArrayLike<number | bigint>, Number) },
    ]),
  );
}

/** What this package holds for given numbers. */
export function constantOf({ dims, data, type = FLOAT }: Numbers): Constant {
  if (type === FLOAT) return { kind: 'float', dims, data: Float32Array.from(data) };
  return { kind: 'int', dims, data: Float64Array.from(data), type };
}

/** Nodes that have no name in the default domain of older opsets, as onnxruntime calls them. */
const VENDOR: Readonly<Record<string, string>> = { Swish: 'QuickGelu', Gelu: 'Gelu' };

/** A model that was read, as a file again: what its nodes mean can be run elsewhere. */
export function writeRead(model: OnnxModel): Uint8Array {
  const node = orderNodes(model, model.outputs).map((one) => {
    const tanh = [...(one.attributes.get('approximate')?.s ?? [])].length === 4 && isTanh(one);
    const vendor = tanh ? 'FastGelu' : VENDOR[one.opType];
    return {
      name: one.name,
      opType: vendor ?? one.opType,
      domain: vendor === undefined ? one.domain : 'com.microsoft',
      input: [...one.inputs],
      output: [...one.outputs],
      attribute: [...one.attributes.values()].filter(({ name }) => name !== 'approximate'),
    };
  });
  return toBinary(
    ModelSchema,
    create(ModelSchema, {
      irVersion: 8n,
      opsetImport: [
        { domain: '', version: BigInt(model.opset) },
        { domain: 'com.microsoft', version: 1n },
      ],
      graph: {
        name: 'read',
        node,
        initializer: [...model.initializers].map(([name, tensor]) => ({ ...tensor, name })),
        input: model.inputs.map(({ name, elementType, dims }) => ({
          name,
          type: {
            tensorType: {
              elemType: elementType,
              shape: {
                dim: (dims ?? []).map((size) =>
                  size === undefined ? { dimParam: 'N' } : { dimValue: BigInt(size) },
                ),
              },
            },
          },
        })),
        output: model.outputs.map((name) => ({ name })),
      },
    }),
  );
}

function isTanh(node: OnnxNode): boolean {
  return new TextDecoder().decode(node.attributes.get('approximate')?.s) === 'tanh';
}

/** Makers of seeded numbers of each type. */
export function numbersFrom(next: () => number) {
  const fill = (dims: readonly number[], f: () => number): number[] =>
    Array.from({ length: dims.reduce((size, one) => size * one, 1) }, f);
  const whole = (low: number, high: number) => () => low + Math.floor(next() * (high - low + 1));
  return {
    floats: (...dims: number[]): Numbers => ({ dims, data: fill(dims, () => 4 * next() - 2) }),
    positive: (...dims: number[]): Numbers => ({ dims, data: fill(dims, () => 0.1 + next()) }),
    ints: (...dims: number[]): Numbers => ({ dims, data: fill(dims, whole(-7, 7)), type: INT64 }),
    bools: (...dims: number[]): Numbers => ({ dims, data: fill(dims, whole(0, 1)), type: BOOL }),
    int8: (...dims: number[]): Numbers => ({
      dims,
      data: fill(dims, whole(-128, 127)),
      type: INT8,
    }),
    uint8: (...dims: number[]): Numbers => ({ dims, data: fill(dims, whole(0, 255)), type: UINT8 }),
    int32: (...dims: number[]): Numbers => ({ dims, data: fill(dims, whole(-9, 9)), type: INT32 }),
  };
}

/** A list of int64, as shapes and axes are. */
export function list(...data: number[]): Numbers {
  return { dims: [data.length], data, type: INT64 };
}
