import { open, realpath, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { isSystemError, PartlensError, show } from '../errors.js';
import { modelError } from './onnx_error.js';
import { EXTERNAL, type GraphProto, type ModelProto } from './onnx_proto.js';
import type { NodeProto, TensorProto } from './onnx_proto.js';
import { tensorLength } from './onnx_tensor.js';

interface OpenFile {
  handle: FileHandle;
  size: number;
}

/**
 * Reads the external tensors of a model into their `rawData` and returns those tensors; initializers that
 * no node reads stay outside, and bytes that several tensors share are read once. Only regular files inside the model's folder are read, also after links are followed, or inside the
 * folder of the file that the model's path links to: the cache of a model hub keeps links to model
 * and data, which lie side by side elsewhere. A location outside, a missing file, or bytes beyond
 * its end throw `E_ONNX`.
 */
export async function inlineExternalData(
  model: ModelProto,
  graph: GraphProto,
  modelPath: string,
): Promise<TensorProto[]> {
  const external: TensorProto[] = [];
  const read = namesRead(model, graph);
  const initializer = graph.initializer.filter(({ name }) => read.has(name));
  collectExternal({ node: graph.node, initializer }, external);
  for (const { node } of model.functions) collectExternal({ node, initializer: [] }, external);
  if (external.length === 0) return external;
  const folders: Folders = {
    named: await realpath(path.dirname(modelPath)),
    real: path.dirname(await realpath(modelPath)),
  };
  const places = new Map<string, Place[]>();
  for (const tensor of external) {
    const { location, ...range } = placeOf(tensor);
    const others = places.get(location) ?? [];
    others.push({ tensor, ...range });
    places.set(location, others);
  }
  for (const [location, found] of places) {
    const file = await openInside(folders, location);
    try {
      await readPlaces(file, found, location);
    } finally {
      await file.handle.close();
    }
  }
  return external;
}

/** Where a tensor lies in a file, bytes. */
interface Place {
  tensor: TensorProto;
  offset: number;
  length: number;
}

/** Tensors whose bytes overlap are views of one piece of memory: a small model must not ask for gigabytes. */
async function readPlaces(file: OpenFile, places: Place[], location: string): Promise<void> {
  const sorted = places.sort((a, b) => a.offset - b.offset);
  for (let first = 0; first < sorted.length;) {
    const begin = sorted[first]?.offset ?? 0;
    let end = begin + (sorted[first]?.length ?? 0);
    let next = first + 1;
    for (; (sorted[next]?.offset ?? Infinity) < end; next++) {
      const { offset = 0, length = 0 } = sorted[next] ?? {};
      end = Math.max(end, offset + length);
    }
    const bytes = await readRange(file, begin, end - begin, location);
    for (const { tensor, offset, length } of sorted.slice(first, next)) {
      tensor.rawData = bytes.subarray(offset - begin, offset - begin + length);
      tensor.dataLocation = 0;
    }
    first = next;
  }
}

/** Names that some node reads, in branches and functions too, and the outputs. */
function namesRead(model: ModelProto, graph: GraphProto): Set<string> {
  const names = new Set(graph.output.map(({ name }) => name));
  const walk = (nodes: readonly NodeProto[]): void => {
    for (const { input, attribute } of nodes) {
      for (const name of input) names.add(name);
      for (const { g } of attribute) {
        if (!g) continue;
        for (const { name } of g.output) names.add(name);
        walk(g.node);
      }
    }
  };
  walk(graph.node);
  for (const { node } of model.functions) walk(node);
  return names;
}

/** Appends the external tensors of a graph, its branches included. */
function collectExternal(
  { node, initializer }: { node: readonly NodeProto[]; initializer: readonly TensorProto[] },
  found: TensorProto[],
): void {
  for (const tensor of initializer) if (tensor.dataLocation === EXTERNAL) found.push(tensor);
  for (const { attribute } of node) {
    for (const { t, g } of attribute) {
      if (t?.dataLocation === EXTERNAL) found.push(t);
      if (g) collectExternal(g, found);
    }
  }
}

function placeOf(tensor: TensorProto): { location: string; offset: number; length: number } {
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]));
  const location = entries.get('location');
  if (location === undefined || location === '') {
    throw modelError('a location', `external data of tensor ${show(tensor.name)}`, location);
  }
  const number = (key: string, fallback: number): number => {
    const text = entries.get(key) ?? String(fallback);
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
    throw modelError('a number of bytes', `${key} of external tensor ${show(tensor.name)}`, text);
  };
  const needed = tensorLength(tensor);
  const length = number('length', needed);
  if (length === needed) return { location, offset: number('offset', 0), length };
  const name = `length of external tensor ${show(tensor.name)}`;
  throw modelError(`${String(needed)} bytes`, name, length);
}

/** Where the model's path lies, links of folders followed, and where the file itself lies. */
interface Folders {
  named: string;
  real: string;
}

async function openInside({ named, real }: Folders, location: string): Promise<OpenFile> {
  const name = `external data ${show(location)}`;
  const inside = (folder: string, full: string): boolean => {
    const relative = path.relative(folder, full);
    return relative !== '' && !path.isAbsolute(relative) && relative.split(path.sep)[0] !== '..';
  };
  const wanted = path.resolve(named, location);
  if (location.includes('\0') || path.isAbsolute(location) || !inside(named, wanted)) {
    throw modelError("a file inside the model's folder", name, location);
  }
  try {
    const full = await realpath(wanted);
    if (!inside(named, full) && !inside(real, full)) {
      throw modelError("a file inside the model's folder", name, 'a link that leaves it');
    }
    const stats = await stat(full);
    if (!stats.isFile()) throw modelError('a file', name, 'something else');
    return { handle: await open(full, 'r'), size: stats.size };
  } catch (error) {
    if (error instanceof PartlensError || !isSystemError(error)) throw error;
    throw modelError('a readable file', name, error.code, { cause: error });
  }
}

async function readRange(
  { handle, size }: OpenFile,
  offset: number,
  length: number,
  location: string,
): Promise<Uint8Array> {
  const name = `external data ${show(location)}`;
  if (offset + length > size) {
    const range = `bytes ${String(offset)} to ${String(offset + length)}`;
    throw modelError(range, name, `a file of ${String(size)} bytes`);
  }
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const ask = Math.min(length - done, 2 ** 30);
    const { bytesRead } = await handle.read(bytes, done, ask, offset + done);
    if (bytesRead === 0) throw modelError(`${String(length)} bytes`, name, done);
    done += bytesRead;
  }
  return bytes;
}
