import { pacer } from '../pace.js';
import { Random } from '../random.js';
import type { RowProducts } from './row_products.js';
import { rowNorms } from './vectors.js';

const ROUNDS = 12;

/**
 * Spherical k-means: `filters` directions m_d of norm 1 (D, C); each vector belongs to the direction of
 * largest cosine, each direction is that of the sum of its vectors |x| x, so that strong ones count more.
 * One that nothing belongs to starts again at a vector. `products` hold the vectors. [Dhillon, Modha 2001]
 */
export async function sphericalKmeans(
  vectors: Float32Array,
  products: RowProducts,
  {
    channels: C,
    filters: D,
    seed,
    signal,
  }: { channels: number; filters: number; seed: number; signal?: AbortSignal | undefined },
): Promise<Float32Array> {
  const rows = vectors.length / C;
  const random = new Random(seed, 'kmeans');
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
  const norms = await rowNorms(vectors, C, signal);
  const rest = pacer(signal);
  for (let round = 0; round < ROUNDS; round++) {
    const dots = await products.project(centres);
    const sums = new Float64Array(D * C);
    for (let n = 0; n < rows; n++) {
      const nearest = largest(dots.subarray(n * D, (n + 1) * D));
      for (let c = 0; c < C; c++) {
        const at = nearest * C + c;
        sums[at] = (sums[at] ?? 0) + (norms[n] ?? 0) * (vectors[n * C + c] ?? 0);
      }
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
