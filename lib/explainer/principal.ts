import type { DeviceOptions } from '../engine/session.js';
import { pacer } from '../pace.js';
import { Random } from '../random.js';
import { symmetricEigen } from './eigen.js';
import { RowProducts } from './row_products.js';
import { rowsIn } from './vectors.js';

/** Directions beyond those that are wanted, and rounds of subspace iteration. */
const SPARE = 8;
const ROUNDS = 30;

export interface DirectionOptions {
  /** C, numbers of a vector. */
  channels: number;
  /** Directions, of which at most C are other than 0. */
  count: number;
  seed: number;
  device?: DeviceOptions | undefined;
  signal?: AbortSignal | undefined;
}

/** Directions (count, C), row-major, and the mean square of the vectors along each. */
export interface Directions {
  directions: Float32Array;
  strength: Float64Array;
}

/**
 * The directions of norm 1 in which vectors (rows of C numbers) are strongest: the first eigenvectors of
 * their mean outer product, not centred, strongest first. Subspace iteration with products on the engine,
 * then Rayleigh-Ritz in float64 [Halko, Martinsson, Tropp 2011; Golub, Van Loan 2013, 8.2]. The event loop
 * stays free. Throws `E_SHAPE`, and the signal's reason when it aborts.
 */
export async function principalDirections(
  vectors: Float32Array,
  { channels: C, count, seed, device, signal }: DirectionOptions,
): Promise<Directions> {
  const rows = rowsIn(vectors, C, 'principal');
  const D = Math.min(count, C);
  const P = Math.min(C, D + SPARE);
  const products = await RowProducts.open(vectors, { rows, channels: C, filters: P }, device);
  try {
    const random = new Random(seed, 'principal');
    let basis: Float32Array = Float32Array.from({ length: P * C }, () => random.normal());
    for (let round = 0; round < ROUNDS; round++) {
      signal?.throwIfAborted();
      basis = await orthonormal(basis, [P, C], signal);
      basis = await products.collect(await products.project(basis));
    }
    basis = await orthonormal(basis, [P, C], signal);
    const inside = await products.square(await products.project(basis));
    const { values, vectors: turn } = await symmetricEigen(Float64Array.from(inside), P, signal);
    const directions = new Float32Array(count * C);
    directions.set(await combined(turn, basis, { outputs: D, inputs: P, signal }));
    const strength = Float64Array.from({ length: count }, (_, d) => {
      return d < D ? Math.max(0, values[d] ?? 0) / rows : 0;
    });
    return { directions, strength };
  } finally {
    products.dispose();
  }
}

/**
 * The same, each scaled so that the mean square of the vectors along it is 1: what a code starts from.
 * Directions with less than 1e-12 of the strength of the first are 0.
 */
export async function strongestDirections(
  vectors: Float32Array,
  options: DirectionOptions,
): Promise<Float32Array> {
  const { directions, strength } = await principalDirections(vectors, options);
  const least = 1e-12 * (strength[0] ?? 0);
  return directions.map((value, i) => {
    const square = strength[Math.floor(i / options.channels)] ?? 0;
    return square > least ? value / Math.sqrt(square) : 0;
  });
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
