import { setImmediate } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import {
  DataType,
  EXTERNAL,
  TensorSchema,
  type ModelProto,
  type TensorProto,
} from '../onnx_proto.js';
import type { WeightFile } from './messages.js';

/** Smaller tensors stay in the model, where the runtime reads shapes and axes from them. */
const SMALLEST = 1024;
/** Bytes of a file; a tensor that is larger has one of its own. */
const FILE_BYTES = 2 ** 29;
const ALIGNMENT = 64;

/**
 * Copies the large initializers of some models into files in memory, each once, and leaves references
 * to them in the models: a model of more than 2 GB can be sent, programs share what they both read, and
 * the copy is made in pieces of a few milliseconds.
 */
export async function packWeights(models: readonly ModelProto[]): Promise<WeightFile[]> {
  const places = new Map<TensorProto, TensorProto>();
  const files: { path: string; tensors: [TensorProto, number][]; length: number }[] = [];
  for (const tensor of models.flatMap(({ graph }) => graph?.initializer ?? [])) {
    if (places.has(tensor) || !isLarge(tensor)) continue;
    let file = files.at(-1);
    if (!file || file.length + tensor.rawData.length > FILE_BYTES) {
      file = { path: `weights${String(files.length)}`, tensors: [], length: 0 };
      files.push(file);
    }
    places.set(tensor, reference(tensor, file.path, file.length));
    file.tensors.push([tensor, file.length]);
    file.length += Math.ceil(tensor.rawData.length / ALIGNMENT) * ALIGNMENT;
  }
  for (const { graph } of models) {
    if (graph) graph.initializer = graph.initializer.map((one) => places.get(one) ?? one);
  }
  const packed: WeightFile[] = [];
  for (const { path, tensors, length } of files) {
    const data = new Uint8Array(length);
    for (const [{ rawData }, offset] of tensors) await copy(rawData, data, offset);
    packed.push({ path, data });
  }
  return packed;
}

function isLarge({ rawData, dataType }: TensorProto): boolean {
  return rawData.length >= SMALLEST && dataType !== DataType.INT64;
}

function reference({ name, dims, dataType, rawData }: TensorProto, path: string, offset: number) {
  return create(TensorSchema, {
    name,
    dims,
    dataType,
    dataLocation: EXTERNAL,
    externalData: [
      { key: 'location', value: path },
      { key: 'offset', value: String(offset) },
      { key: 'length', value: String(rawData.length) },
    ],
  });
}

async function copy(from: Uint8Array, to: Uint8Array, offset: number): Promise<void> {
  const piece = 2 ** 24;
  for (let start = 0; start < from.length; start += piece) {
    to.set(from.subarray(start, start + piece), offset + start);
    if (from.length > piece) await setImmediate();
  }
}
