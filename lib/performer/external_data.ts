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
 * Reads the external tensors of a model into their `rawData` and returns those tensors. Only
 * regular files inside the model's folder are read, also after links are followed, or inside the
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
  collectExternal(graph, external);
  for (const { node } of model.functions) collectExternal({ node, initializer: [] }, external);
  if (external.length === 0) return external;
  const folders: Folders = {
    named: await realpath(path.dirname(modelPath)),
    real: path.dirname(await realpath(modelPath)),
  };
  const files = new Map<string, OpenFile>();
  try {
    for (const tensor of external) {
      const { location, offset, length } = placeOf(tensor);
      const file = files.get(location) ?? (await openInside(folders, location));
      files.set(location, file);
      tensor.rawData = await readRange(file, offset, length, location);
      tensor.dataLocation = 0;
    }
  } finally {
    await Promise.all([...files.values()].map(({ handle }) => handle.close()));
  }
  return external;
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
