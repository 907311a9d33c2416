import type { Value } from '../../engine/graph.js';
import { activation, binary, conv2d, relu, scale } from '../../engine/ops/index.js';
import { LeastSquares } from '../../explainer/least_squares.js';
import { Random } from '../../random.js';
import { rowsIn, transposed, type FitOptions, type FittedCode, type LinearMap } from './fitted.js';
import { pacer } from './pace.js';
import { RowProducts } from './row_products.js';

const ROUNDS = 12;
/** Cosine from which a cell counts as like a centre. */
const COSINE = 0.5;
/** Multiply-adds of least squares in one turn of the event loop. */
const PIECE = 1e6;
/** Vectors that least squares is fitted on, at most. */
const MOST_SOLVED = 6_000;

/**
 * Spherical k-means: `filters` directions m_d of norm 1; each vector belongs to the direction of largest
 * cosine, each direction is that of the sum of its vectors |x| x, so that strong ones count more.
 * [Dhillon, Modha 2001]. Two codes of it: `kmeans`, the projection m_d x, and `kmeansCosine`,
 * max(m_d x - 0.5 |x|, 0): how far the cosine is above 0.5, times |x|. Features are rebuilt by least squares.
 */
export async function fitKmeans(vectors: Float32Array, options: FitOptions): Promise<FittedCode[]> {
  const { channels: C, filters: D, device } = options;
  const rows = rowsIn(vectors, C, 'kmeans');
  const products = await RowProducts.open(vectors, { rows, channels: C, filters: D }, device);
  try {
    const centres = await directions(vectors, products, options);
    const dots = await products.project(centres);
    const like = await aboveCosine(dots, vectors, options);
    const project = (x: Value, w: Value): Value => conv2d(x, w, undefined);
    const frozen = { w: { shape: [D, C, 1, 1], data: centres } };
    return [
      {
        ...{ name: 'kmeans', filters: D, frozen },
        encode: (x, of) => project(x, of('w')),
        decoder: await ridge(dots, vectors, options),
      },
      {
        ...{ name: 'kmeansCosine', filters: D, frozen },
        encode: (x, of) => relu(binary(project(x, of('w')), norms(x, COSINE), 'sub')),
        decoder: await ridge(like, vectors, options),
      },
    ];
  } finally {
    products.dispose();
  }
}

/** factor |x| at each cell, (N, 1, n, m). */
function norms(x: Value, factor: number): Value {
  const ones = x.node.graph.constant(1, [1, x.shape[1] ?? 1, 1, 1], { layout: 'conv_weight' });
  const squares = conv2d(activation(x, 'square'), ones, undefined);
  return scale(activation(squares, 'sqrt'), { factor });
}

/** The centres, (D, C). One that nothing belongs to starts again at a vector. */
async function directions(
  vectors: Float32Array,
  products: RowProducts,
  { channels: C, filters: D, seed, signal }: FitOptions,
): Promise<Float32Array> {
  const rows = vectors.length / C;
  const random = new Random(seed, 'baselines/kmeans');
  const centres = new Float32Array(D * C);
  const direct = (d: number, sum: ArrayLike<number>): boolean => {
    let square = 0;
    for (let c = 0; c < C; c++) square += (sum[c] ?? 0) ** 2;
    for (let c = 0; c < C; c++) centres[d * C + c] = (sum[c] ?? 0) / Math.sqrt(square || 1);
    return square > 0;
  };
  const restart = (d: number): void => {
    for (let tries = 0; tries < 100; tries++) {
      const n = random.int(rows);
      if (direct(d, vectors.subarray(n * C, (n + 1) * C))) return;
    }
  };
  for (let d = 0; d < D; d++) restart(d);
  const rest = pacer(signal);
  for (let round = 0; round < ROUNDS; round++) {
    const dots = await products.project(centres);
    const sums = new Float64Array(D * C);
    for (let n = 0; n < rows; n++) {
      const nearest = largest(dots.subarray(n * D, (n + 1) * D));
      addWeighted(sums.subarray(nearest * C, (nearest + 1) * C), vectors, n * C);
      await rest();
    }
    for (let d = 0; d < D; d++) {
      if (!direct(d, sums.subarray(d * C, (d + 1) * C))) restart(d);
    }
  }
  return centres;
}

function largest(values: Float32Array): number {
  let best = 0;
  for (let d = 1; d < values.length; d++) if ((values[d] ?? 0) > (values[best] ?? 0)) best = d;
  return best;
}

/** Adds |x| x. */
function addWeighted(sum: Float64Array, vectors: Float32Array, from: number): void {
  const norm = normAt(vectors, from, sum.length);
  for (let c = 0; c < sum.length; c++) sum[c] = (sum[c] ?? 0) + norm * (vectors[from + c] ?? 0);
}

function normAt(vectors: Float32Array, from: number, C: number): number {
  let square = 0;
  for (let c = 0; c < C; c++) square += (vectors[from + c] ?? 0) ** 2;
  return Math.sqrt(square);
}

/** max(dot - 0.5 |x|, 0), (rows, D). */
async function aboveCosine(
  dots: Float32Array,
  vectors: Float32Array,
  { channels: C, filters: D, signal }: FitOptions,
): Promise<Float32Array> {
  const rest = pacer(signal);
  const result = dots.slice();
  for (let n = 0; n * C < vectors.length; n++) {
    const least = COSINE * normAt(vectors, n * C, C);
    for (let i = n * D; i < (n + 1) * D; i++) result[i] = Math.max((result[i] ?? 0) - least, 0);
    await rest();
  }
  return result;
}

/** Least squares from a code (rows, D) to the vectors (rows, C), over draws from the rows. */
export async function ridge(
  code: Float32Array,
  vectors: Float32Array,
  { channels: C, filters: D, seed, signal }: FitOptions,
): Promise<LinearMap> {
  const rows = vectors.length / C;
  const squares = new LeastSquares(D, C, { seed, most: Math.min(rows, MOST_SOLVED) });
  const piece = Math.max(1, Math.min(rows, Math.floor(PIECE / (D * (D / 2 + C)))));
  const batches = Math.ceil(rows / piece);
  const rest = pacer(signal);
  for (let n = 0; n < rows; n += piece) {
    const to = Math.min(rows, n + piece);
    const x = transposed(code.subarray(n * D, to * D), to - n, D);
    const y = transposed(vectors.subarray(n * C, to * C), to - n, C);
    squares.add(x, y, { images: 1, batches });
    await rest();
  }
  return squares.solve();
}
