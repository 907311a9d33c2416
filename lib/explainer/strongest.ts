import { Random } from '../random.js';

/** Vectors that are looked at, evenly chosen. */
const MOST_VECTORS = 4096;
/** Rounds of the iteration: each brings a direction nearer by the ratio of neighbouring strengths. */
const ROUNDS = 12;
/** Milliseconds of work between turns of the event loop. */
const TURN = 20;

/**
 * The directions in which vectors (rows of C numbers) are strongest: the first `count` eigenvectors of
 * their mean outer product, not centred, by orthogonal iteration [Golub & Van Loan 2013, 8.2.4] in float64.
 * Each is scaled so that the mean square of the vectors along it is 1; directions without strength, and
 * those beyond C, are 0. Rows of C numbers, strongest first. The event loop stays free.
 */
export async function strongestDirections(
  vectors: Float32Array,
  { C, count, seed }: { C: number; count: number; seed: number },
): Promise<Float32Array> {
  const pace = pacer();
  const moments = await meanOuterProduct(vectors, C, pace);
  const random = new Random(seed, 'strongest');
  let basis: Float64Array[] = Array.from({ length: Math.min(count, C) }, () =>
    Float64Array.from({ length: C }, () => random.normal()),
  );
  let next = await multiplied(moments, basis, pace);
  for (let round = 0; round < ROUNDS; round++) {
    basis = next;
    await orthonormalise(basis, pace);
    next = await multiplied(moments, basis, pace);
  }
  const result = new Float32Array(count * C);
  basis.forEach((direction, k) => {
    const square = dot(direction, next[k] ?? direction);
    const factor = square > 0 ? 1 / Math.sqrt(square) : 0;
    result.set(
      direction.map((value) => value * factor),
      k * C,
    );
  });
  return result;
}

type Pace = () => Promise<void>;

/** Lets what waits for the event loop run, whenever `TURN` milliseconds have gone by. */
function pacer(): Pace {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < TURN) return;
    await new Promise((resolve) => setImmediate(resolve));
    last = performance.now();
  };
}

/** (C, C), row-major, symmetric. */
async function meanOuterProduct(
  vectors: Float32Array,
  C: number,
  pace: Pace,
): Promise<Float64Array> {
  const rows = vectors.length / C;
  const every = Math.max(1, Math.ceil(rows / MOST_VECTORS));
  const taken = Math.ceil(rows / every);
  const sums = new Float64Array(C * C);
  for (let n = 0; n < rows; n += every) {
    const v = vectors.subarray(n * C, (n + 1) * C);
    for (let i = 0; i < C; i++) {
      const value = (v[i] ?? 0) / taken;
      if (value !== 0) addScaled(sums.subarray(i * C, i * C + i + 1), v, value);
    }
    await pace();
  }
  for (let i = 0; i < C; i++) {
    for (let j = 0; j < i; j++) sums[j * C + i] = sums[i * C + j] ?? 0;
  }
  return sums;
}

/** The matrix times each vector of the basis. */
async function multiplied(
  matrix: Float64Array,
  basis: readonly Float64Array[],
  pace: Pace,
): Promise<Float64Array[]> {
  const products: Float64Array[] = [];
  for (const direction of basis) {
    const C = direction.length;
    products.push(direction.map((_, i) => dot(direction, matrix.subarray(i * C, (i + 1) * C))));
    await pace();
  }
  return products;
}

/** Gram-Schmidt, twice: once loses orthogonality where vectors are nearly parallel. */
async function orthonormalise(basis: readonly Float64Array[], pace: Pace): Promise<void> {
  for (const [k, v] of basis.entries()) {
    const before = Math.sqrt(dot(v, v));
    for (let pass = 0; pass < 2; pass++) {
      for (const other of basis.slice(0, k)) addScaled(v, other, -dot(other, v));
    }
    const norm = Math.sqrt(dot(v, v));
    const gone = !(norm > 1e-9 * before);
    for (let i = 0; i < v.length; i++) v[i] = gone ? 0 : (v[i] ?? 0) / norm;
    await pace();
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

/** Adds a multiple of the first values of v. */
function addScaled(to: Float64Array, v: Float32Array | Float64Array, factor: number): void {
  for (let i = 0; i < to.length; i++) to[i] = (to[i] ?? 0) + factor * (v[i] ?? 0);
}
