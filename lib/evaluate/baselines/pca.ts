import { conv2d } from '../../engine/ops/index.js';
import { Random } from '../../random.js';
import { symmetricEigen } from './eigen.js';
import {
  meanRow,
  rowsIn,
  shifted,
  transposed,
  type FitOptions,
  type FittedCode,
} from './fitted.js';
import { pacer } from './pace.js';
import { RowProducts } from './row_products.js';

/** Directions beyond those that are wanted, and rounds of subspace iteration. */
const SPARE = 8;
const ROUNDS = 30;

/**
 * Principal components of feature vectors: a = E (x - mean), rebuilt as E^T a + mean, the `filters` (at most
 * C) directions of largest variance, each turned so that its strongest values are above 0 (positive third
 * moment). [Pearson 1901]
 */
export async function fitPca(vectors: Float32Array, options: FitOptions): Promise<FittedCode> {
  const { channels: C, filters, seed, device, signal } = options;
  const rows = rowsIn(vectors, C, 'pca');
  const D = Math.min(filters, C);
  const mean = await meanRow(vectors, C, signal);
  const centred = await shifted(vectors, { channels: C, shift: mean, signal });
  const P = Math.min(C, D + SPARE);
  const products = await RowProducts.open(centred, { rows, channels: C, filters: P }, device);
  try {
    const random = new Random(seed, 'baselines/pca');
    let basis: Float32Array = Float32Array.from({ length: P * C }, () => random.normal());
    for (let round = 0; round < ROUNDS; round++) {
      signal?.throwIfAborted();
      basis = await orthonormal(basis, [P, C], signal);
      basis = await products.collect(await products.project(basis));
    }
    basis = await orthonormal(basis, [P, C], signal);
    const inside = await products.square(await products.project(basis));
    const { vectors: turn } = await symmetricEigen(Float64Array.from(inside), P, signal);
    const all = new Float32Array(P * C);
    all.set(await combined(turn, basis, { outputs: D, inputs: P, signal }));
    const E = all.subarray(0, D * C);
    await orient(E, await products.project(all), { rows, stride: P, C, signal });
    return pcaCode(E, mean, D, C);
  } finally {
    products.dispose();
  }
}

function pcaCode(E: Float32Array, mean: Float64Array, D: number, C: number): FittedCode {
  const bias = Float32Array.from({ length: D }, (_, d) => {
    return -mean.reduce((sum, m, c) => sum + m * (E[d * C + c] ?? 0), 0);
  });
  return {
    name: 'pca',
    filters: D,
    frozen: { w: { shape: [D, C, 1, 1], data: E.slice() }, b: { shape: [D], data: bias } },
    encode: (x, frozen) => conv2d(x, frozen('w'), frozen('b')),
    decoder: { weights: transposed(E, D, C), bias: Float32Array.from(mean) },
  };
}

/** Rows that span the same, orthogonal and of norm 1: Gram-Schmidt, twice, float64. */
async function orthonormal(
  basis: Float32Array,
  [P, C]: readonly [number, number],
  signal?: AbortSignal,
): Promise<Float32Array> {
  const q = Float64Array.from(basis);
  const rest = pacer(signal);
  for (let i = 0; i < P; i++) {
    const row = q.subarray(i * C, (i + 1) * C);
    for (let other = 0; other < 2 * i; other++) {
      const from = (other % i) * C;
      let dot = 0;
      for (let c = 0; c < C; c++) dot += (row[c] ?? 0) * (q[from + c] ?? 0);
      for (let c = 0; c < C; c++) row[c] = (row[c] ?? 0) - dot * (q[from + c] ?? 0);
    }
    const norm = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    // Directions without data, where there are fewer vectors than rows, stay 0.
    for (let c = 0; c < C; c++) row[c] = norm > 1e-30 ? (row[c] ?? 0) / norm : 0;
    await rest();
  }
  return Float32Array.from(q);
}

/** The first `outputs` rows of turn (inputs, inputs) times basis (inputs, C). */
async function combined(
  turn: Float64Array,
  basis: Float32Array,
  {
    outputs,
    inputs,
    signal,
  }: { outputs: number; inputs: number; signal?: AbortSignal | undefined },
): Promise<Float64Array> {
  const C = basis.length / inputs;
  const result = new Float64Array(outputs * C);
  const rest = pacer(signal);
  for (let d = 0; d < outputs; d++) {
    for (let i = 0; i < inputs; i++) {
      const w = turn[d * inputs + i] ?? 0;
      for (let c = 0; c < C; c++) {
        result[d * C + c] = (result[d * C + c] ?? 0) + w * (basis[i * C + c] ?? 0);
      }
    }
    await rest();
  }
  return result;
}

/** Turns each direction so that the sum of the cubes of its values (rows, stride) is not below 0. */
async function orient(
  E: Float32Array,
  values: Float32Array,
  { rows, stride, C, signal }: RowsOfValues,
): Promise<void> {
  const rest = pacer(signal);
  for (let d = 0; d * C < E.length; d++) {
    let cubes = 0;
    for (let n = 0; n < rows; n++) cubes += (values[n * stride + d] ?? 0) ** 3;
    if (cubes < 0) for (let c = 0; c < C; c++) E[d * C + c] = -(E[d * C + c] ?? 0);
    await rest();
  }
}

interface RowsOfValues {
  rows: number;
  stride: number;
  C: number;
  signal?: AbortSignal | undefined;
}
