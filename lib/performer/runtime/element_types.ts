import { toBinary } from '@bufbuild/protobuf';
import { expected } from '../../errors.js';
import { DataType, ModelSchema, type ModelProto } from '../onnx_proto.js';
import type { ModelIndex } from './model_index.js';
import { cutValues } from './surgery.js';
import { packWeights } from './weights.js';
import type { WorkerHost } from './worker_host.js';

/** onnxruntime's words for element types, as `DataType`. */
const TYPES: Readonly<Record<string, number>> = {
  float32: DataType.FLOAT,
  uint8: DataType.UINT8,
  int8: DataType.INT8,
  uint16: DataType.UINT16,
  int16: DataType.INT16,
  int32: DataType.INT32,
  int64: DataType.INT64,
  string: DataType.STRING,
  bool: DataType.BOOL,
  float16: DataType.FLOAT16,
  float64: DataType.DOUBLE,
  uint32: DataType.UINT32,
  uint64: DataType.UINT64,
};

/** `DataType` of one of onnxruntime's words; undefined where it is none of a plain tensor. */
export function elementTypeOf(word: string | undefined): number | undefined {
  return word === undefined ? undefined : TYPES[word];
}

/** True for types that hold whole numbers only. */
export function isWhole(elementType: number): boolean {
  const { FLOAT, FLOAT16, DOUBLE, BFLOAT16 } = DataType;
  return ![FLOAT, FLOAT16, DOUBLE, BFLOAT16].some((one) => one === elementType);
}

/** Least and largest number that a small whole type holds. */
const RANGES: Readonly<Record<number, readonly [number, number]>> = {
  [DataType.UINT8]: [0, 255],
  [DataType.INT8]: [-128, 127],
  [DataType.UINT16]: [0, 65535],
  [DataType.INT16]: [-32768, 32767],
};

/** Rounds to what the element type holds, in place: a Cast node would cut digits off and wrap around. */
export function toWholeNumbers(data: Float32Array, elementType: number): void {
  const [low, high] = RANGES[elementType] ?? [-Infinity, Infinity];
  for (let i = 0; i < data.length; i++) {
    data[i] = Math.min(high, Math.max(low, Math.round(data[i] ?? 0)));
  }
}

/**
 * Element types of values, by what the model says of them; where it says nothing, by what the runtime
 * makes of it, which loads the nodes before them once.
 */
export async function elementTypes(
  host: WorkerHost,
  index: ModelIndex,
  tensors: readonly string[],
): Promise<Map<string, number>> {
  const types = new Map<string, number>();
  const { valueInfo, output } = index.graph;
  for (const { name, type } of [...index.inputs.values(), ...valueInfo, ...output]) {
    const elementType = type?.tensorType?.elemType ?? 0;
    if (elementType !== 0) types.set(name, elementType);
  }
  const unknown = tensors.filter((name) => !types.has(name));
  if (unknown.length === 0) return types;
  const found = await sendModel(host, cutValues(index, unknown), (model) =>
    host.ask({ kind: 'types', model }, [model.buffer]),
  );
  for (const name of unknown) {
    const elementType = elementTypeOf(found[name]);
    if (elementType === undefined) {
      throw expected('a tensor', name, found[name] ?? 'a sequence or a map', {
        op: 'onnxruntime',
      });
    }
    types.set(name, elementType);
  }
  return types;
}

/** Gives the worker one model's weights for as long as `use` lasts. */
export async function sendModel<T>(
  host: WorkerHost,
  model: ModelProto,
  use: (bytes: Uint8Array<ArrayBuffer>) => Promise<T>,
): Promise<T> {
  const files = await packWeights([model]);
  await host.ask(
    { kind: 'weights', files },
    files.map(({ data }) => data.buffer),
  );
  const result = await use(encode(model));
  await host.ask({ kind: 'drop' });
  return result;
}

/** Bytes that can be moved to another thread. */
export function encode(model: ModelProto): Uint8Array<ArrayBuffer> {
  return new Uint8Array(toBinary(ModelSchema, model));
}
