import { open, type FileHandle } from 'node:fs/promises';
import { expected, PartlensError } from '../errors.js';
import { readFully } from './atomic.js';
import { fileError } from './file_error.js';
import {
  damaged,
  ELEMENTS,
  MAX_HEADER_BYTES,
  parseHeader,
  rowBytes,
  type ElementArray,
  type ElementType,
  type SafetensorsHeader,
  type TensorEntry,
} from './safetensors_header.js';
import { SafetensorsWriter } from './safetensors_writer.js';

export { SafetensorsWriter } from './safetensors_writer.js';
export type { ElementArray, ElementType, TensorEntry } from './safetensors_header.js';

/** A whole tensor in memory, row-major. */
export interface StoredTensor {
  dtype: ElementType;
  shape: readonly number[];
  data: ElementArray;
}

/** What `writeSafetensors` takes: `dtype` follows from the array, but a `Uint16Array` may be `F16`. */
export interface TensorToStore {
  shape: readonly number[];
  data: ElementArray;
  dtype?: ElementType;
}

/**
 * A safetensors file open for reading: the header is checked whole (see `parseHeader`), the data is read
 * in ranges of rows as asked for, so that the file may be larger than memory.
 */
export class SafetensorsFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #handle: FileHandle;
  readonly #dataStart: number;

  private constructor(path: string, handle: FileHandle, start: number, header: SafetensorsHeader) {
    this.path = path;
    this.tensors = header.tensors;
    this.metadata = header.metadata;
    this.#handle = handle;
    this.#dataStart = start;
  }

  /** Opens a file and checks its header and length. Throws `E_FILE`. */
  static async open(path: string): Promise<SafetensorsFile> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, 'r');
      const { start, header } = await readHeader(handle, path);
      return new SafetensorsFile(path, handle, start, header);
    } catch (cause) {
      await handle?.close().catch(() => undefined);
      throw fileError('read', path, cause);
    }
  }

  /** Throws `E_FILE` when there is no tensor of that name. */
  entry(name: string): TensorEntry {
    const entry = this.tensors.get(name);
    if (entry) return entry;
    const names = [...this.tensors.keys()].join(', ');
    throw new PartlensError('E_FILE', `${this.path} has no tensor ${name}, only ${names}.`);
  }

  /**
   * Reads rows `first .. first + count - 1` (along the outermost axis) as raw bytes into the start of
   * `into`. Throws `E_ARGUMENT` for rows that there are not, `E_FILE` when the file was cut meanwhile.
   */
  async readRowBytes(name: string, first: number, count: number, into: Uint8Array): Promise<void> {
    const entry = this.entry(name);
    const size = rowBytes(entry);
    const rows = entry.shape[0] ?? 1;
    if (!Number.isInteger(first) || !(first >= 0 && count >= 0 && first + count <= rows)) {
      throw expected(`rows within 0 .. ${String(rows)}`, name, [first, first + count]);
    }
    const target = into.subarray(0, count * size);
    if (target.length < count * size) throw expected(`${String(count * size)} bytes`, name, into);
    try {
      await readFully(
        this.#handle,
        target,
        this.#dataStart + entry.begin + first * size,
        this.path,
      );
    } catch (cause) {
      throw fileError('read', this.path, cause);
    }
  }

  /** Reads a range of rows into a fresh array of the tensor's own element type. */
  async readRows(name: string, first: number, count: number): Promise<ElementArray> {
    const entry = this.entry(name);
    const bytes = allocate(count * rowBytes(entry), this.path);
    await this.readRowBytes(name, first, count, bytes);
    return new ELEMENTS[entry.dtype].array(bytes.buffer);
  }

  /** Reads a whole tensor. */
  async read(name: string): Promise<StoredTensor> {
    const { dtype, shape } = this.entry(name);
    return { dtype, shape, data: await this.readRows(name, 0, shape[0] ?? 1) };
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** Reads all tensors of a file. Throws `E_FILE` for a file that cannot be read or is not valid. */
export async function readSafetensors(
  path: string,
): Promise<{ tensors: Record<string, StoredTensor>; metadata: Record<string, string> }> {
  const file = await SafetensorsFile.open(path);
  try {
    const tensors: [string, StoredTensor][] = [];
    for (const name of file.tensors.keys()) tensors.push([name, await file.read(name)]);
    return { tensors: Object.fromEntries(tensors), metadata: { ...file.metadata } };
  } finally {
    await file.close();
  }
}

/**
 * Writes tensors and metadata as one file, atomically: after an error, a full disk included, the old
 * file is unchanged and nothing else is left. The arrays must not change before the promise resolves.
 * Throws `E_SHAPE` when data and shape disagree, `E_FILE` on disk errors.
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, TensorToStore>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const typed = Object.entries(tensors).map(
    ([name, tensor]) =>
      [name, { ...tensor, dtype: tensor.dtype ?? elementTypeOf(tensor.data) }] as const,
  );
  for (const [name, { shape, data, dtype }] of typed) {
    const size = shape.reduce((product, side) => product * side, 1);
    if (data.length !== size || !(data instanceof ELEMENTS[dtype].array)) {
      throw expected(`${String(size)} values of ${dtype}`, name, data, { code: 'E_SHAPE' });
    }
  }
  const writer = await SafetensorsWriter.create(path, Object.fromEntries(typed), metadata);
  for (const [name, { data }] of typed) await writer.write(name, 0, data);
  await writer.finish();
}

/** `F32` for a `Float32Array` and so on; `U8` for bytes. */
function elementTypeOf(data: ElementArray): ElementType {
  const types = Object.keys(ELEMENTS) as ElementType[];
  const rank = (type: ElementType): number => Number(/^(BF16|F16|BOOL)$/.test(type));
  const found = types
    .sort((a, b) => rank(a) - rank(b))
    .find((type) => data instanceof ELEMENTS[type].array);
  if (found) return found;
  throw expected('a typed array', 'data', data, { code: 'E_DTYPE' });
}

async function readHeader(
  handle: FileHandle,
  path: string,
): Promise<{ start: number; header: SafetensorsHeader }> {
  const info = await handle.stat();
  if (!info.isFile()) throw damaged(path, 'it is no regular file');
  if (info.size < 8) throw damaged(path, `it is truncated, it has ${String(info.size)} bytes`);
  const prefix = new Uint8Array(8);
  await readFully(handle, prefix, 0, path);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) throw damaged(path, `a header of ${String(length)} bytes`);
  const start = 8 + Number(length);
  if (start > info.size) throw damaged(path, 'it is truncated within its header');
  const text = new Uint8Array(Number(length));
  await readFully(handle, text, 8, path);
  return { start, header: parseHeader(text, info.size - start, path) };
}

function allocate(bytes: number, path: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    const text = `${path}: no memory for ${String(bytes)} bytes at once.`;
    throw new PartlensError('E_MEMORY', text, { cause });
  }
}
