import type { Value } from '../../engine/graph.js';
import type { DeviceOptions } from '../../engine/session.js';
import { expected } from '../../errors.js';
import { pacer } from './pace.js';

/** Feature vectors that codes are fitted on, rows of `channels` numbers, and how. */
export interface FitOptions {
  channels: number;
  filters: number;
  seed: number;
  device?: DeviceOptions | undefined;
  signal?: AbortSignal | undefined;
}

/** A linear map with a constant: weights (outputs, inputs), bias (outputs), row-major. */
export interface LinearMap {
  weights: Float32Array;
  bias: Float32Array;
}

/** A code that was fitted: how its maps are computed, and the linear map back to the features. */
export interface FittedCode {
  name: string;
  filters: number;
  /** Tensors of `encode`, written once, with their shapes; rank 4: weights of convolutions. */
  frozen: Record<string, { shape: number[]; data: Float32Array }>;
  /** The maps (N, D, n, m) of features x (N, C, n, m). */
  encode: (x: Value, frozen: (name: string) => Value) => Value;
  /** What the engine has no op for: changes maps (count, D, cells) in place. */
  finish?: (maps: Float32Array, count: number) => Promise<void>;
  /** (C, D) and (C). */
  decoder: LinearMap;
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
