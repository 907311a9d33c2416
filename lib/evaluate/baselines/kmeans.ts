import type { Value } from '../../engine/graph.js';
import { activation, binary, conv2d, relu, scale } from '../../engine/ops/index.js';
import { sphericalKmeans } from '../../explainer/kmeans.js';
import { LeastSquares } from '../../explainer/least_squares.js';
import { RowProducts } from '../../explainer/row_products.js';
import { rowNorms, rowsIn, transposed } from '../../explainer/vectors.js';
import { pacer } from '../../pace.js';
import type { FitOptions, FittedCode, LinearMap } from './fitted.js';

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
    const centres = await sphericalKmeans(vectors, products, options);
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

/** max(dot - 0.5 |x|, 0), (rows, D). */
async function aboveCosine(
  dots: Float32Array,
  vectors: Float32Array,
  { channels: C, filters: D, signal }: FitOptions,
): Promise<Float32Array> {
  const rest = pacer(signal);
  const result = dots.slice();
  const norms = await rowNorms(vectors, C, signal);
  for (const [n, norm] of norms.entries()) {
    const least = COSINE * norm;
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
    await squares.add(x, y, { images: 1, batches });
    await rest();
  }
  return squares.solve();
}
