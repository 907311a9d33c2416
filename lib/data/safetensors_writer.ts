import { expected } from '../errors.js';
import { AtomicFile } from './atomic.js';
import {
  encodeHeader,
  layOut,
  rowBytes,
  type ElementArray,
  type ElementType,
  type SafetensorsHeader,
  type TensorEntry,
} from './safetensors_header.js';

/**
 * Writes a safetensors file piece by piece: shapes are declared first, rows follow in any order, and
 * `finish` puts the whole file in its place. It may be larger than memory. After any error, a full disk
 * included, nothing is left; `discard` gives the file up.
 */
export class SafetensorsWriter {
  readonly path: string;
  readonly #file: AtomicFile;
  readonly #header: SafetensorsHeader;
  /** Bytes kept free for the header. */
  readonly #dataStart: number;

  private constructor(file: AtomicFile, header: SafetensorsHeader) {
    this.path = file.path;
    this.#file = file;
    this.#header = header;
    this.#dataStart = encodeHeader(header).length;
  }

  /** Throws `E_ARGUMENT` for shapes that cannot be, `E_FILE` when the folder cannot be written to. */
  static async create(
    path: string,
    tensors: Readonly<Record<string, { dtype: ElementType; shape: readonly number[] }>>,
    metadata: Readonly<Record<string, string>> = {},
  ): Promise<SafetensorsWriter> {
    const header = { tensors: layOut(tensors), metadata: { ...metadata } };
    return new SafetensorsWriter(await AtomicFile.create(path), header);
  }

  /**
   * Writes whole rows (along the outermost axis) from row `first` on. `data` has the tensor's element
   * type and must not change before the promise resolves.
   */
  async write(name: string, first: number, data: ElementArray): Promise<void> {
    const entry = this.#header.tensors.get(name);
    if (!entry) throw expected('a declared tensor', 'name', name, { op: 'safetensors' });
    const position = entry.begin + first * rowBytes(entry);
    const fits = data.byteLength % Math.max(rowBytes(entry), 1) === 0;
    if (!fits || !(first >= 0) || position + data.byteLength > entry.end) {
      await this.discard();
      const what = `whole rows within shape (${entry.shape.join(', ')}) from row ${String(first)}`;
      throw expected(what, name, data, { code: 'E_SHAPE', op: 'safetensors' });
    }
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    await this.#file.write(bytes, this.#dataStart + position);
  }

  /**
   * Completes the file. With `rows`, every tensor keeps only its first `rows` rows, and `metadata`, no
   * longer than before, stands in place of that: for data whose number is known at its end only.
   */
  async finish(rows?: number, metadata = this.#header.metadata): Promise<void> {
    const kept = rows === undefined ? this.#header : await this.#shrink(rows);
    const header = { ...kept, metadata };
    if (encodeHeader(header).length > this.#dataStart) {
      await this.discard();
      throw expected('metadata no longer than declared', 'metadata', 'more', { op: 'safetensors' });
    }
    const end = [...header.tensors.values()].reduce((last, entry) => Math.max(last, entry.end), 0);
    await this.#file.write(encodeHeader(header, this.#dataStart), 0);
    await this.#file.commit(this.#dataStart + end);
  }

  /** Gives the file up and removes what was written. */
  async discard(): Promise<void> {
    await this.#file.discard();
  }

  async #shrink(rows: number): Promise<SafetensorsHeader> {
    const declared = this.#header.tensors;
    const kept: Record<string, Pick<TensorEntry, 'dtype' | 'shape'>> = {};
    for (const [name, { dtype, shape }] of declared) {
      kept[name] = {
        dtype,
        shape: shape.map((size, axis) => (axis ? size : Math.min(rows, size))),
      };
    }
    const tensors = layOut(kept);
    for (const [name, { begin, end }] of tensors) {
      const from = declared.get(name)?.begin ?? begin;
      if (from === begin) continue;
      await this.#file.moveDown(this.#dataStart + from, this.#dataStart + begin, end - begin);
    }
    return { tensors, metadata: this.#header.metadata };
  }
}
