import { expected } from '../errors.js';
import { pacer } from '../pace.js';

const SWEEPS = 40;

export interface Eigen {
  /** Largest first. */
  values: Float64Array;
  /** One vector of norm 1 a row, in the order of `values`. */
  vectors: Float64Array;
}

/** Eigenvalues and vectors of a symmetric matrix (size, size): cyclic Jacobi rotations, float64. */
export async function symmetricEigen(
  matrix: Float64Array,
  size: number,
  signal?: AbortSignal,
): Promise<Eigen> {
  if (matrix.length !== size * size) {
    throw expected(`${String(size)} x ${String(size)} values`, 'matrix', matrix, {
      code: 'E_SHAPE',
      op: 'eigen',
    });
  }
  const a = matrix.slice();
  const v = new Float64Array(size * size);
  for (let i = 0; i < size; i++) v[i * size + i] = 1;
  const total = a.reduce((sum, x) => sum + x * x, 0);
  const rest = pacer(signal);
  for (let sweep = 0; sweep < SWEEPS && offDiagonal(a, size) > 1e-26 * total; sweep++) {
    for (let p = 0; p < size; p++) {
      for (let q = p + 1; q < size; q++) rotate(a, v, { size, p, q });
      await rest();
    }
  }
  const order = Array.from({ length: size }, (_, i) => i);
  const value = (i: number): number => a[i * size + i] ?? 0;
  order.sort((i, j) => value(j) - value(i));
  const vectors = new Float64Array(size * size);
  order.forEach((i, row) => {
    vectors.set(v.subarray(i * size, (i + 1) * size), row * size);
  });
  return { values: Float64Array.from(order, value), vectors };
}

function offDiagonal(a: Float64Array, size: number): number {
  let sum = 0;
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < i; j++) sum += 2 * (a[i * size + j] ?? 0) ** 2;
  }
  return sum;
}

function rotate(
  a: Float64Array,
  v: Float64Array,
  { size, p, q }: { size: number; p: number; q: number },
): void {
  const apq = a[p * size + q] ?? 0;
  if (apq === 0) return;
  const theta = ((a[q * size + q] ?? 0) - (a[p * size + p] ?? 0)) / (2 * apq);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  const turn = (x: Float64Array, i: number, j: number): void => {
    const [xi, xj] = [x[i] ?? 0, x[j] ?? 0];
    x[i] = c * xi - s * xj;
    x[j] = s * xi + c * xj;
  };
  for (let k = 0; k < size; k++) turn(a, k * size + p, k * size + q);
  for (let k = 0; k < size; k++) {
    turn(a, p * size + k, q * size + k);
    turn(v, p * size + k, q * size + k);
  }
}
