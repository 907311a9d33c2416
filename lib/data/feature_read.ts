import { decodeHalf } from './half.js';
import type { SafetensorsFile } from './safetensors.js';

/** Mean and mean square over all elements. */
export interface Moments {
  mean: number;
  meanSquare: number;
}

export interface ScatteredRead {
  name: string;
  /** Elements of a row. */
  size: number;
  /** The file holds 16-bit floats. */
  half: boolean;
  /** Global row numbers, valid, in any order. */
  indexes: ArrayLike<number>;
  /** `indexes.length * size` values. */
  into: Float32Array;
  shards: readonly { rows: number; file: () => Promise<SafetensorsFile> }[];
}

/** Rows of one shard to be read by one call. */
interface Run {
  file: () => Promise<SafetensorsFile>;
  first: number;
  count: number;
  /** Rows of the run (from its first), and their places in `into`. */
  wanted: { row: number; place: number }[];
}

/** Largest buffer of a read that cannot go to its place directly, bytes; one row at least. */
const RUN_BYTES = 2 ** 22;
/** Unwanted bytes between two rows that are cheaper to read than another call. */
const GAP_BYTES = 2 ** 15;
/** Reads at a time: the file system's thread pool has four threads. */
const READS = 4;

/** Reads rows of a sharded tensor to their places, neighbours together, a few reads at a time. */
export async function readScattered(read: ScatteredRead): Promise<void> {
  const runs = findRuns(read);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let run = runs[next++]; run; run = runs[next++]) await readRun(read, run);
  };
  const workers = await Promise.allSettled(Array.from({ length: READS }, work));
  const failed = workers.find((worker) => worker.status === 'rejected');
  if (failed) throw failed.reason;
}

function findRuns({ indexes, shards, size, half }: ScatteredRead): Run[] {
  const order = Array.from(indexes, (index, place) => ({ index, place }));
  order.sort((a, b) => a.index - b.index || a.place - b.place);
  const bytes = Math.max(size * (half ? 2 : 4), 1);
  const most = Math.max(1, Math.floor(RUN_BYTES / bytes));
  const gap = Math.floor(GAP_BYTES / bytes);
  const runs: Run[] = [];
  let shard = 0;
  let start = 0; // first row of the shard
  let run: Run | undefined;
  for (const { index, place } of order) {
    for (let rows = rowsOf(shards, shard); index >= start + rows; rows = rowsOf(shards, shard)) {
      start += rows;
      shard++;
      run = undefined;
    }
    const row = index - start;
    if (!run || row >= run.first + most || row > run.first + run.count + gap) {
      run = { file: fileOf(shards, shard), first: row, count: 1, wanted: [] };
      runs.push(run);
    }
    run.count = row - run.first + 1;
    run.wanted.push({ row: row - run.first, place });
  }
  return runs;
}

async function readRun(read: ScatteredRead, { file, first, count, wanted }: Run): Promise<void> {
  const { name, size, half, into } = read;
  const source = await file();
  const start = wanted[0]?.place ?? 0;
  const straight =
    wanted.length === count &&
    wanted.every(({ row, place }, k) => row === k && place === start + k);
  if (straight && !half) {
    const offset = into.byteOffset + start * size * 4;
    const target = new Uint8Array(into.buffer, offset, count * size * 4);
    await source.readRowBytes(name, first, count, target);
    return;
  }
  const values = await source.readRows(name, first, count);
  for (const { row, place } of wanted) {
    const target = into.subarray(place * size, (place + 1) * size);
    const part = values.subarray(row * size, (row + 1) * size);
    if (part instanceof Uint16Array) decodeHalf(part, target);
    else target.set(part as Float32Array);
  }
}

/** Streams over rows and sums up in float64, row by row, so that the size of a read does not matter. */
export async function moments(
  rows: readonly number[],
  size: number,
  read: (indexes: readonly number[], into: Float32Array) => Promise<void>,
): Promise<Moments> {
  const chunk = Math.max(1, Math.floor(RUN_BYTES / (4 * size)));
  const buffer = new Float32Array(Math.min(chunk, rows.length) * size);
  let sum = 0;
  let squares = 0;
  for (let first = 0; first < rows.length; first += chunk) {
    const part = rows.slice(first, first + chunk);
    const values = buffer.subarray(0, part.length * size);
    await read(part, values);
    for (let at = 0; at < values.length; at += size) {
      let rowSum = 0;
      let rowSquares = 0;
      for (let i = at; i < at + size; i++) {
        const value = values[i] ?? 0;
        rowSum += value;
        rowSquares += value * value;
      }
      sum += rowSum;
      squares += rowSquares;
    }
  }
  const count = rows.length * size;
  return { mean: sum / count, meanSquare: squares / count };
}

function rowsOf(shards: ScatteredRead['shards'], shard: number): number {
  return shards[shard]?.rows ?? Infinity;
}

function fileOf(shards: ScatteredRead['shards'], shard: number): () => Promise<SafetensorsFile> {
  const found = shards[shard];
  if (!found) throw new RangeError(`no shard ${String(shard)}`);
  return found.file;
}
