import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expected, PartlensError } from '../errors.js';
import { sizeOf, type Shape } from '../engine/tensor.js';
import { removeTemporaries } from './atomic.js';
import { checkShard, ShardSums } from './feature_check.js';
import {
  readFeatureIndex,
  writeFeatureIndex,
  type FeatureIndex,
  type FeatureRow,
} from './feature_index.js';
import { moments, readScattered, type Moments } from './feature_read.js';
import { fileError } from './file_error.js';
import { encodeHalf, HALF_MAX } from './half.js';
import { SafetensorsFile, SafetensorsWriter } from './safetensors.js';

export type { FeatureRow } from './feature_index.js';
export type { Moments } from './feature_read.js';

export interface FeatureStoreSpec {
  /** Identifies model, images, preprocessing and what is extracted: see `fingerprint`. */
  fingerprint: string;
  /** Shape of each tensor for one image, such as `{ conv5_relu: [256, 14, 14], fc6_relu: [768] }`. */
  tensors: Readonly<Record<string, Shape>>;
  /** Default `float32`; `float16` halves the files and keeps 11 significant bits. */
  dtype?: 'float32' | 'float16';
  /** Largest shard, bytes. Default 256 MiB; one row at least. */
  shardBytes?: number;
}

/** Rows to add. */
export interface FeaturePart {
  rows: readonly FeatureRow[];
  /** Every tensor, (rows, ...shape), row-major. */
  data: Readonly<Record<string, Float32Array>>;
}

const SHARD = /^shard-\d{5}\.safetensors$/;

/**
 * Features of many images on disk: one row for each image (or mirrored copy), in safetensors shards
 * `shard-00000.safetensors` of at most 256 MiB beside an `index.json`. Shards and index are replaced
 * atomically and name only what is whole, so an extraction that was killed goes on behind its last
 * shard. Rows are read in any order without loading more than is asked for.
 */
export class FeatureStore {
  readonly folder: string;
  readonly #index: FeatureIndex;
  readonly #shardBytes: number;
  readonly #files = new Map<string, Promise<SafetensorsFile>>();
  #writer: SafetensorsWriter | undefined;
  #sums = new ShardSums();
  /** Rows of the shard that is being written, and how many it can take. */
  #pending: FeatureRow[] = [];
  #capacity = 0;
  #queue: Promise<void> = Promise.resolve();
  /** A write failed: rows may be missing, so no more can follow. */
  #broken = false;

  private constructor(folder: string, index: FeatureIndex, shardBytes: number) {
    this.folder = folder;
    this.#index = index;
    this.#shardBytes = shardBytes;
  }

  /**
   * Opens a complete store with this fingerprint, or resolves with undefined when there is none. Throws
   * `E_FILE` for a damaged index or a shard that is missing, truncated, not as the index says or not as it was
   * written: all of it is read.
   */
  static async open(folder: string, fingerprint: string): Promise<FeatureStore | undefined> {
    const index = await readFeatureIndex(folder);
    if (index?.fingerprint !== fingerprint || !index.complete) return undefined;
    const store = new FeatureStore(folder, index, 0);
    try {
      for (const shard of index.shards) await checkShard(await store.#openShard(shard));
    } catch (error) {
      await store.close();
      throw error;
    }
    return store;
  }

  /**
   * Starts a store, or goes on with the unfinished one of the same fingerprint and tensors: `rows` says
   * what it holds already. Everything of other stores in the folder is removed, other files are not
   * touched. Throws `E_ARGUMENT` for impossible shapes, `E_FILE` on disk errors.
   */
  static async create(folder: string, spec: FeatureStoreSpec): Promise<FeatureStore> {
    const { fingerprint, dtype = 'float32', shardBytes = 2 ** 28 } = spec;
    const tensors: Record<string, number[]> = {};
    for (const [name, shape] of Object.entries(spec.tensors)) {
      const valid = shape.every((side) => Number.isInteger(side) && side > 0);
      if (!valid) throw expected('positive sizes', name, shape, { op: 'features' });
      tensors[name] = [...shape];
    }
    const blank = { fingerprint, dtype, tensors, format: 1, complete: false } as const;
    const index = await unfinished(folder, { ...blank, shards: [], rows: [] });
    const store = new FeatureStore(folder, index, shardBytes);
    try {
      await mkdir(folder, { recursive: true });
      await store.#dropDamaged();
      await removeStrangers(folder, new Set(index.shards.map(({ file }) => file)));
    } catch (cause) {
      throw fileError('write', folder, cause);
    }
    await writeFeatureIndex(folder, index);
    return store;
  }

  /** Rows so far. */
  get count(): number {
    return this.#index.rows.length + this.#pending.length;
  }

  /** What each row belongs to. */
  get rows(): readonly FeatureRow[] {
    return this.#pending.length > 0 ? [...this.#index.rows, ...this.#pending] : this.#index.rows;
  }

  /** True after `finish`. */
  get complete(): boolean {
    return this.#index.complete;
  }

  /** Shape of each tensor for one image. */
  get tensors(): Readonly<Record<string, Shape>> {
    return this.#index.tensors;
  }

  get dtype(): 'float32' | 'float16' {
    return this.#index.dtype;
  }

  /**
   * Adds rows; `data` holds every tensor, (rows, ...shape) row-major, and must not change before the
   * promise resolves. Calls queue up. Throws `E_SHAPE`, `E_STATE` for a value that is not finite or
   * does not fit 16 bits, `E_FILE` on disk errors (whole shards are kept, no more can be added).
   */
  append(rows: readonly FeatureRow[], data: FeaturePart['data']): Promise<void> {
    return this.appendTogether([{ rows, data }]);
  }

  /**
   * Adds several parts, such as images and their mirrored copies, that an interrupted store holds all or
   * none of: the rows of one call lie in one shard.
   */
  appendTogether(parts: readonly FeaturePart[]): Promise<void> {
    return this.#enqueue(async () => {
      this.#checkWritable();
      for (const { rows, data } of parts) {
        for (const [name, shape] of Object.entries(this.tensors)) {
          checkValues(name, data[name], { rows, size: sizeOf(shape), dtype: this.dtype });
        }
      }
      const count = parts.reduce((sum, { rows }) => sum + rows.length, 0);
      if (count === 0) return;
      if (this.#pending.length + count > this.#capacity) await this.#flush();
      this.#broken = true; // until this is done
      const writer = (this.#writer ??= await this.#createShard(count));
      for (const part of parts) await this.#write(writer, part);
      this.#broken = false;
      if (this.#pending.length === this.#capacity) await this.#flush();
    });
  }

  /** Marks the store complete. Throws `E_STATE` when it is empty. */
  finish(): Promise<void> {
    return this.#enqueue(async () => {
      this.#checkWritable();
      if (this.count === 0) throw new PartlensError('E_STATE', 'No features were stored.');
      await this.#flush();
      await writeFeatureIndex(this.folder, { ...this.#index, complete: true });
      this.#index.complete = true;
    });
  }

  /**
   * Reads the rows `indexes` of one tensor into `into`, one behind the other; neighbours are read at
   * once. Only rows of whole shards can be read: call `finish` first. Throws `E_ARGUMENT`, `E_SHAPE`,
   * `E_FILE`.
   */
  async read(name: string, indexes: ArrayLike<number>, into: Float32Array): Promise<void> {
    const shape = this.#index.tensors[name];
    if (!shape) throw expected(`one of ${Object.keys(this.tensors).join(', ')}`, 'tensor', name);
    const size = sizeOf(shape);
    const stored = this.#index.rows.length;
    const wrong = Array.from(indexes).find((i) => !(Number.isInteger(i) && i >= 0 && i < stored));
    if (wrong !== undefined) throw expected(`rows below ${String(stored)}`, name, wrong);
    if (into.length !== indexes.length * size) {
      const what = `${String(indexes.length * size)} values`;
      throw expected(what, name, into, { code: 'E_SHAPE', op: 'features' });
    }
    const half = this.dtype === 'float16';
    await readScattered({ name, size, half, indexes, into, shards: this.#shards() });
  }

  /** Mean over all elements of the given rows, default all. */
  async mean(name: string, rows?: ArrayLike<number>): Promise<number> {
    return (await this.moments(name, rows)).mean;
  }

  /** Mean of the squares over all elements of the given rows, default all. */
  async meanSquare(name: string, rows?: ArrayLike<number>): Promise<number> {
    return (await this.moments(name, rows)).meanSquare;
  }

  /** Mean and mean square in one pass; float64 sums in the order of the rows. */
  async moments(name: string, rows?: ArrayLike<number>): Promise<Moments> {
    const wanted = rows ?? { length: this.#index.rows.length };
    const sorted = rows ? Array.from(rows) : Array.from(wanted, (_, i) => i);
    sorted.sort((a, b) => a - b);
    const size = sizeOf(this.#index.tensors[name] ?? [1]);
    return moments(sorted, size, (indexes, into) => this.read(name, indexes, into));
  }

  /** Closes all files. What an unfinished store holds is written, so that `create` can go on with it. */
  async close(): Promise<void> {
    await this.#queue.catch(() => undefined);
    try {
      await this.#flush();
    } finally {
      const files = await Promise.allSettled(this.#files.values());
      this.#files.clear();
      for (const file of files) if (file.status === 'fulfilled') await file.value.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  #checkWritable(): void {
    if (this.complete) throw new PartlensError('E_STATE', 'The feature store is complete already.');
    if (!this.#broken) return;
    throw new PartlensError('E_STATE', 'Writing features failed before: create the store again.');
  }

  /** Starts a shard of as many rows as may be, but at least `rows`. */
  async #createShard(rows: number): Promise<SafetensorsWriter> {
    const bytes = this.dtype === 'float16' ? 2 : 4;
    const row = Object.values(this.tensors).reduce((sum, shape) => sum + bytes * sizeOf(shape), 0);
    this.#capacity = Math.max(rows, Math.floor(this.#shardBytes / Math.max(row, 1)));
    const dtype = this.dtype === 'float16' ? 'F16' : 'F32';
    const declared = Object.entries(this.tensors).map(
      ([name, shape]) => [name, { dtype, shape: [this.#capacity, ...shape] }] as const,
    );
    this.#sums = new ShardSums();
    return SafetensorsWriter.create(
      join(this.folder, shardName(this.#index.shards.length)),
      Object.fromEntries(declared),
      this.#metadata(ShardSums.blank(Object.keys(this.tensors))),
    );
  }

  #metadata(checksums: string): Record<string, string> {
    return { fingerprint: this.#index.fingerprint, checksums };
  }

  async #write(writer: SafetensorsWriter, { rows, data }: FeaturePart): Promise<void> {
    try {
      for (const name of Object.keys(this.tensors)) {
        const values = data[name];
        if (!values) continue;
        const stored = this.dtype === 'float16' ? encodeHalf(values) : values;
        await writer.write(name, this.#pending.length, stored);
        this.#sums.add(name, stored);
      }
    } catch (error) {
      this.#writer = undefined;
      this.#pending = [];
      throw error;
    }
    this.#pending.push(...rows);
  }

  /** Ends the current shard. */
  async #flush(): Promise<void> {
    const [writer, rows] = [this.#writer, this.#pending];
    if (!writer) return;
    this.#writer = undefined;
    this.#pending = [];
    this.#broken = true; // until this is done
    const sums = this.#sums.text(Object.keys(this.tensors));
    await writer.finish(rows.length, this.#metadata(sums));
    const shards = [...this.#index.shards];
    shards.push({ file: shardName(shards.length), rows: rows.length });
    const next = { ...this.#index, shards, rows: [...this.#index.rows, ...rows] };
    await writeFeatureIndex(this.folder, next);
    Object.assign(this.#index, next);
    this.#broken = false;
  }

  #shards(): { rows: number; file: () => Promise<SafetensorsFile> }[] {
    return this.#index.shards.map((shard) => ({
      rows: shard.rows,
      file: () => this.#openShard(shard),
    }));
  }

  /** Opens a shard once and checks that it holds what the index says. */
  #openShard({ file, rows }: { file: string; rows: number }): Promise<SafetensorsFile> {
    let opened = this.#files.get(file);
    if (opened) return opened;
    const dtype = this.dtype === 'float16' ? 'F16' : 'F32';
    opened = SafetensorsFile.open(join(this.folder, file)).then(async (shard) => {
      const { fingerprint, tensors } = this.#index;
      const fits = Object.entries(tensors).every(([name, shape]) => {
        const entry = shard.tensors.get(name);
        return entry?.dtype === dtype && entry.shape.join() === [rows, ...shape].join();
      });
      if (fits && shard.metadata['fingerprint'] === fingerprint) return shard;
      await shard.close();
      throw new PartlensError('E_FILE', `${shard.path} does not belong to its index.`);
    });
    this.#files.set(file, opened);
    return opened;
  }

  /** Forgets the shards of an unfinished store from the first damaged one on. */
  async #dropDamaged(): Promise<void> {
    let rows = 0;
    for (const [i, shard] of this.#index.shards.entries()) {
      const opened = this.#openShard(shard);
      const sound = await opened.then(checkShard).then(
        () => true,
        () => false,
      );
      if (!sound) {
        await opened.then((file) => file.close()).catch(() => undefined);
        for (const { file } of this.#index.shards.splice(i)) this.#files.delete(file);
        this.#index.rows.length = rows;
        return;
      }
      rows += shard.rows;
    }
  }
}

function shardName(index: number): string {
  return `shard-${String(index).padStart(5, '0')}.safetensors`;
}

/** The index of an unfinished store that `blank` can go on with, else `blank`. */
async function unfinished(folder: string, blank: FeatureIndex): Promise<FeatureIndex> {
  const found = await readFeatureIndex(folder).catch(() => undefined);
  const key = ({ fingerprint, dtype, tensors }: FeatureIndex): string =>
    JSON.stringify([fingerprint, dtype, Object.entries(tensors).sort()]);
  return found && !found.complete && key(found) === key(blank) ? found : blank;
}

/** Removes shards and temporary files that the index does not name. */
async function removeStrangers(folder: string, keep: ReadonlySet<string>): Promise<void> {
  await removeTemporaries(folder);
  for (const name of await readdir(folder)) {
    if (SHARD.test(name) && !keep.has(name)) await rm(join(folder, name), { force: true });
  }
}

function checkValues(
  name: string,
  values: Float32Array | undefined,
  of: { rows: readonly FeatureRow[]; size: number; dtype: 'float32' | 'float16' },
): void {
  const { rows, size, dtype } = of;
  const length = rows.length * size;
  if (values?.length !== length) {
    const what = `${String(length)} values`;
    throw expected(what, name, values, { code: 'E_SHAPE', op: 'features' });
  }
  const limit = dtype === 'float16' ? HALF_MAX : Number.MAX_VALUE;
  let at = 0;
  while (at < length && Math.abs(values[at] ?? 0) <= limit) at++;
  if (at === length) return;
  const wrong = values[at] ?? 0;
  const image = rows[Math.floor(at / size)]?.image ?? '';
  const why = Number.isFinite(wrong)
    ? `beyond ${String(HALF_MAX)}, the range of ${dtype}.\nStore the features as float32.`
    : 'no finite number: the model computes it.';
  throw new PartlensError('E_STATE', `${name} holds ${String(wrong)} for ${image}, ${why}`, {
    op: 'features',
    details: { name, image },
  });
}
