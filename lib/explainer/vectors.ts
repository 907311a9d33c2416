import type { FeatureStore } from '../data/feature_store.js';
import { sizeOf } from '../engine/tensor.js';
import { expected } from '../errors.js';
import { pacer } from '../pace.js';
import { Random } from '../random.js';
import { LAYER } from './features.js';

/** Vectors in all, at most, and photographs that they are drawn from. */
const MOST_VECTORS = 12_000;
const MOST_IMAGES = 2_000;

/**
 * Feature vectors at cells of rows of the store, rows of C numbers: at most 12,000, as many from each of at
 * most 2,000 photographs, drawn from the seed; all cells where there are no more.
 */
export async function sampleVectors(
  store: FeatureStore,
  rows: readonly number[],
  { seed, signal }: { seed: number; signal?: AbortSignal | undefined },
): Promise<Float32Array> {
  const shape = store.tensors[LAYER] ?? [];
  const C = shape[0] ?? 1;
  const cells = sizeOf(shape) / C;
  const random = new Random(seed, 'samples');
  const chosen = random.shuffle([...rows]).slice(0, MOST_IMAGES);
  const each = Math.min(cells, Math.ceil(MOST_VECTORS / Math.max(1, chosen.length)));
  const vectors = new Float32Array(Math.min(MOST_VECTORS, each * chosen.length) * C);
  const maps = new Float32Array(C * cells);
  const rest = pacer(signal);
  let at = 0;
  for (const row of chosen) {
    await store.read(LAYER, [row], maps);
    for (const cell of random.permutation(cells).subarray(0, each)) {
      if (at === vectors.length) break;
      for (let c = 0; c < C; c++) vectors[at++] = maps[c * cells + cell] ?? 0;
    }
    await rest();
  }
  return vectors;
}

/** Number of vectors in `vectors`. Throws `E_SHAPE` where it is not whole, or 0. */
export function rowsIn(vectors: Float32Array, channels: number, op: string): number {
  const rows = vectors.length / channels;
  if (Number.isInteger(rows) && rows >= 1) return rows;
  const what = `rows of ${String(channels)}`;
  throw expected(what, 'vectors', vectors, { code: 'E_SHAPE', op });
}

/** Rows as columns: (rows, columns) to (columns, rows). */
export function transposed(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(matrix.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) result[j * rows + i] = matrix[i * columns + j] ?? 0;
  }
  return result;
}

/** The mean row of a matrix with C columns, summed in float64. */
export async function meanRow(
  vectors: Float32Array,
  C: number,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const rows = vectors.length / C;
  const mean = new Float64Array(C);
  const rest = pacer(signal);
  for (let n = 0; n < rows; n++) {
    for (let c = 0; c < C; c++) mean[c] = (mean[c] ?? 0) + (vectors[n * C + c] ?? 0) / rows;
    await rest();
  }
  return mean;
}

/** factor (x - shift) of each row x; `shift` (C), default 0. */
export async function shifted(
  vectors: Float32Array,
  { channels: C, factor = 1, shift, signal }: ShiftOptions,
): Promise<Float32Array> {
  const result = new Float32Array(vectors.length);
  const rest = pacer(signal);
  for (let from = 0; from < result.length; from += C) {
    for (let c = 0; c < C; c++) {
      result[from + c] = factor * ((vectors[from + c] ?? 0) - (shift?.[c] ?? 0));
    }
    await rest();
  }
  return result;
}

interface ShiftOptions {
  channels: number;
  factor?: number;
  shift?: Float64Array;
  signal?: AbortSignal | undefined;
}

/** The norm of each row. */
export async function rowNorms(
  vectors: Float32Array,
  C: number,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const norms = new Float64Array(vectors.length / C);
  const rest = pacer(signal);
  for (let n = 0; n < norms.length; n++) {
    let square = 0;
    for (let c = 0; c < C; c++) square += (vectors[n * C + c] ?? 0) ** 2;
    norms[n] = Math.sqrt(square);
    await rest();
  }
  return norms;
}

/** Rows over their norm; those of 0 stay. */
export async function ofNorm1(
  vectors: Float32Array,
  C: number,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const norms = await rowNorms(vectors, C, signal);
  return vectors.map((value, i) => {
    const norm = norms[Math.floor(i / C)] ?? 0;
    return norm > 0 ? value / norm : value;
  });
}
