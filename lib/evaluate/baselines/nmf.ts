import type { Value } from '../../engine/graph.js';
import { binary, conv2d, scale } from '../../engine/ops/index.js';
import { RowProducts } from '../../explainer/row_products.js';
import { rowNorms, rowsIn, shifted, transposed } from '../../explainer/vectors.js';
import { pacer } from '../../pace.js';
import { Random } from '../../random.js';
import type { FitOptions, FittedCode } from './fitted.js';

/** Updates of both factors, and of the code alone for maps. */
const ROUNDS = 100;
const CODE_ROUNDS = 30;
/** Added below fractions: nothing is divided by 0. Vectors have a root mean square of 1. */
const TINY = 1e-8;
/** Added to the first values: multiplication never leaves 0. */
const START = 1e-2;

/**
 * Non-negative matrix factorisation: X = A H, A and H >= 0, by multiplicative updates of
 * |X - A H|^2, A <- A (X H^T) / (A H H^T), H <- H (A^T X) / (A^T A H); rows of H have norm 1. Maps are found
 * by 30 updates of A alone, and rebuilt as H^T a. For features that are never below 0. [Lee, Seung 2001]
 */
export async function fitNmf(vectors: Float32Array, options: FitOptions): Promise<FittedCode> {
  const { channels: C, filters: D, device, signal } = options;
  const rows = rowsIn(vectors, C, 'nmf');
  const norms = await rowNorms(vectors, C, signal);
  const power = norms.reduce((sum, norm) => sum + norm * norm, 0);
  const factor = 1 / Math.sqrt(power / vectors.length || 1);
  const scaled = await shifted(vectors, { channels: C, factor, signal });
  const products = await RowProducts.open(scaled, { rows, channels: C, filters: D }, device);
  try {
    const H = await factorise(scaled, products, options);
    const back = transposed(H, D, C).map((h) => h / factor);
    return {
      name: 'nmf',
      filters: D,
      frozen: {
        h: { shape: [D, C, 1, 1], data: H },
        hh: { shape: [D, D, 1, 1], data: await outer(H, [D, C], signal) },
      },
      encode: (x, of) => codeOf(scale(x, { factor }), of('h'), of('hh')),
      decoder: { weights: back, bias: new Float32Array(C) },
    };
  } finally {
    products.dispose();
  }
}

/** A of fixed H, (N, D, n, m). */
function codeOf(x: Value, h: Value, hh: Value): Value {
  const { graph } = x.node;
  const D = h.shape[0] ?? 1;
  const tiny = graph.constant(TINY, [D]);
  const start = graph.constant(START, [1, D, 1, 1], { layout: 'maps' });
  const wanted = conv2d(x, h, undefined);
  let a = binary(scale(wanted, { factor: 1 / D }), start, 'add');
  for (let round = 0; round < CODE_ROUNDS; round++) {
    a = binary(a, binary(wanted, conv2d(a, hh, tiny), 'div'), 'mul');
  }
  return a;
}

/** H (D, C), rows of norm 1. It starts at vectors, A at random. */
async function factorise(
  vectors: Float32Array,
  products: RowProducts,
  { channels: C, filters: D, seed, signal }: FitOptions,
): Promise<Float32Array> {
  const rows = vectors.length / C;
  const random = new Random(seed, 'baselines/nmf');
  const A = new Float32Array(rows * D);
  const rest = pacer(signal);
  for (let i = 0; i < A.length; i++) {
    A[i] = random.uniform();
    if (i % D === 0) await rest();
  }
  const order = random.permutation(rows);
  const H = Float32Array.from({ length: D * C }, (_, i) => {
    const n = order[Math.floor(i / C) % rows] ?? 0;
    // Where filters outnumber vectors, two that start alike would stay alike.
    return (vectors[n * C + (i % C)] ?? 0) + START * random.uniform(0.5, 1.5);
  });
  for (let round = 0; round < ROUNDS; round++) {
    signal?.throwIfAborted();
    const wanted = await products.project(H);
    await update(A, wanted, await products.mix(A, await outer(H, [D, C], signal)), signal);
    const collected = await products.collect(A);
    const own = await times(await products.square(A), H, { D, signal });
    await update(H, collected, own, signal);
  }
  for (let d = 0; d < D; d++) {
    const row = H.subarray(d * C, (d + 1) * C);
    const norm = Math.sqrt(row.reduce((sum, h) => sum + h * h, 0)) || 1;
    row.forEach((h, c) => (row[c] = h / norm));
  }
  return H;
}

/** factor <- factor wanted / found. */
async function update(
  factor: Float32Array,
  wanted: Float32Array,
  found: Float32Array,
  signal?: AbortSignal,
): Promise<void> {
  const rest = pacer(signal);
  const piece = 1 << 16;
  for (let from = 0; from < factor.length; from += piece) {
    for (let i = from; i < Math.min(from + piece, factor.length); i++) {
      factor[i] = ((factor[i] ?? 0) * (wanted[i] ?? 0)) / ((found[i] ?? 0) + TINY);
    }
    await rest();
  }
}

/** H H^T (D, D). */
async function outer(
  H: Float32Array,
  [D, C]: readonly [number, number],
  signal?: AbortSignal,
): Promise<Float32Array> {
  const rest = pacer(signal);
  const result = new Float32Array(D * D);
  for (let i = 0; i < D; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let c = 0; c < C; c++) sum += (H[i * C + c] ?? 0) * (H[j * C + c] ?? 0);
      result[i * D + j] = result[j * D + i] = sum;
    }
    await rest();
  }
  return result;
}

/** G H (D, C) of a square G. */
async function times(
  G: Float32Array,
  H: Float32Array,
  { D, signal }: { D: number; signal?: AbortSignal | undefined },
): Promise<Float32Array> {
  const rest = pacer(signal);
  const C = H.length / D;
  const result = new Float32Array(H.length);
  for (let i = 0; i < D; i++) {
    for (let k = 0; k < D; k++) {
      const g = G[i * D + k] ?? 0;
      for (let c = 0; c < C; c++) {
        result[i * C + c] = (result[i * C + c] ?? 0) + g * (H[k * C + c] ?? 0);
      }
    }
    await rest();
  }
  return result;
}
