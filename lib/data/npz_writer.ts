import { sizeOf, type Shape } from '../engine/tensor.js';
import { expected } from '../errors.js';
import { AtomicFile } from './atomic.js';
import { encodeNpy, npyHeader, type NpyArray } from './npz.js';
import { centralDirectory, crc32, joinCrc, localHeader, type ZipEntry } from './zip.js';

/** Bytes that are summed and written before the event loop may go on, about 3 ms. */
const PIECE = 2 ** 20;
const FLOAT32 = '<f4';

interface Growing {
  /** Name of the file in the archive. */
  file: string;
  /** Shape of a row. */
  row: Shape;
  /** Where its local header begins. */
  offset: number;
  /** Bytes of the local header, and of the array's own header behind it. */
  local: number;
  head: number;
  rows: number;
  /** Of the values so far. */
  crc: number;
}

/**
 * Writes float32 arrays as an `.npz` file (zip, stored) row by row: each array is given room for `rows`
 * rows, `append` adds some, `finish` closes the gaps of rows that never came. It may be larger than
 * memory, and than 4 GiB. After any error nothing is left; `discard` gives the file up.
 */
export class NpzWriter {
  readonly path: string;
  readonly #file: AtomicFile;
  readonly #limit: number;
  readonly #arrays = new Map<string, Growing>();

  private constructor(file: AtomicFile, arrays: Readonly<Record<string, Shape>>, rows: number) {
    this.path = file.path;
    this.#file = file;
    this.#limit = rows;
    let offset = 0;
    for (const [name, row] of Object.entries(arrays)) {
      const file = `${name}.npy`;
      const local = localHeader({ name: file, crc: 0, size: 0 }).length;
      const head = npyHeader(FLOAT32, [rows, ...row]).length;
      this.#arrays.set(name, { file, row, offset, local, head, rows: 0, crc: 0 });
      offset += local + head + 4 * rows * sizeOf(row);
    }
  }

  /** `arrays`: the shape of a row of each. Throws `E_FILE` when the folder cannot be written to. */
  static async create(
    path: string,
    arrays: Readonly<Record<string, Shape>>,
    rows: number,
  ): Promise<NpzWriter> {
    return new NpzWriter(await AtomicFile.create(path), arrays, rows);
  }

  /** Adds whole rows; `data` must not change before the promise resolves. */
  async append(name: string, data: Float32Array): Promise<void> {
    const array = this.#arrays.get(name);
    if (!array) throw expected('a declared array', 'name', name, { op: 'npz' });
    const each = sizeOf(array.row);
    const rows = data.length / Math.max(each, 1);
    if (!Number.isInteger(rows) || array.rows + rows > this.#limit) {
      await this.discard();
      const what = `whole rows of shape (${array.row.join(', ')}), ${String(this.#limit)} in all`;
      throw expected(what, name, data, { code: 'E_SHAPE', op: 'npz' });
    }
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const position = array.offset + array.local + array.head + 4 * array.rows * each;
    for (let at = 0; at < bytes.length; at += PIECE) {
      const piece = bytes.subarray(at, at + PIECE);
      array.crc = crc32(piece, array.crc);
      await this.#file.write(piece, position + at);
    }
    array.rows += rows;
  }

  /** Completes the file, with `more` arrays behind. Throws `E_SHAPE` where arrays differ in rows. */
  async finish(more: Readonly<Record<string, NpyArray>> = {}): Promise<void> {
    const entries: ZipEntry[] = [];
    let end = 0;
    const rows = this.#arrays.values().next().value?.rows ?? 0;
    for (const array of this.#arrays.values()) {
      if (array.rows !== rows) {
        await this.discard();
        const what = `${String(rows)} rows, as the first array has,`;
        throw expected(what, array.file, array.rows, { code: 'E_SHAPE', op: 'npz' });
      }
      const entry = await this.#settle(array, end);
      entries.push(entry);
      end += array.local + entry.size;
    }
    for (const [name, array] of Object.entries(more)) {
      const data = Buffer.concat(encodeNpy(array, name));
      const entry = { name: `${name}.npy`, crc: crc32(data), size: data.length, offset: end };
      const whole = Buffer.concat([localHeader(entry), data]);
      await this.#file.write(whole, end);
      entries.push(entry);
      end += whole.length;
    }
    const directory = centralDirectory(entries, end);
    await this.#file.write(directory, end);
    await this.#file.commit(end + directory.length);
  }

  /** Gives the file up and removes what was written. */
  async discard(): Promise<void> {
    await this.#file.discard();
  }

  /** Brings an array to its place, never behind the one that it had, and writes its headers. */
  async #settle(array: Growing, offset: number): Promise<ZipEntry> {
    const { file, row, rows } = array;
    const head = npyHeader(FLOAT32, [rows, ...row], array.head);
    const bytes = 4 * rows * sizeOf(row);
    const front = array.local + array.head;
    if (offset !== array.offset) {
      await this.#file.moveDown(array.offset + front, offset + front, bytes);
    }
    const crc = joinCrc(crc32(head), array.crc, bytes);
    const entry = { name: file, crc, size: head.length + bytes, offset };
    await this.#file.write(Buffer.concat([localHeader(entry), head]), offset);
    return entry;
  }
}
