import { expected } from '../../errors.js';
import type { CodeSource } from '../map_source.js';
import { affine, transposed } from './affine.js';
import { symmetricEigen } from './eigen.js';
import { pacer } from './pace.js';

/**
 * Principal components of feature vectors (rows of `channels` numbers): a = E (x - mean), rebuilt as
 * E^T a + mean, the `filters` (at most `channels`) directions of largest variance. [Pearson 1901]
 */
export async function fitPca(
  vectors: Float32Array,
  { channels: C, filters, signal }: { channels: number; filters: number; signal?: AbortSignal },
): Promise<CodeSource> {
  const count = vectors.length / C;
  if (!Number.isInteger(count) || count < 1) {
    throw expected(`rows of ${String(C)}`, 'vectors', vectors, { code: 'E_SHAPE', op: 'pca' });
  }
  const D = Math.min(filters, C);
  const { mean, covariance } = await moments(vectors, C, signal);
  const E = (await symmetricEigen(covariance, C, signal)).vectors.slice(0, D * C);
  const shift = Float64Array.from({ length: D }, (_, d) => {
    return -mean.reduce((sum, m, c) => sum + m * (E[d * C + c] ?? 0), 0);
  });
  const code = { inputs: C, outputs: D, weights: E, bias: shift };
  const decoder = { inputs: D, outputs: C, weights: transposed(E, D, C), bias: mean };
  const maps = (x: Float32Array, images: number): Promise<Float32Array> =>
    affine(code, x, images, signal);
  return {
    name: 'pca',
    filters: D,
    maps,
    rebuild: async (x, images) => affine(decoder, await maps(x, images), images, signal),
  };
}

/** Mean (C) and covariance (C, C) of rows of C numbers, float64. */
async function moments(
  vectors: Float32Array,
  C: number,
  signal?: AbortSignal,
): Promise<{ mean: Float64Array; covariance: Float64Array }> {
  const count = vectors.length / C;
  const rest = pacer(signal);
  const mean = new Float64Array(C);
  for (let n = 0; n < count; n++) {
    for (let c = 0; c < C; c++) mean[c] = (mean[c] ?? 0) + (vectors[n * C + c] ?? 0) / count;
    await rest();
  }
  const covariance = new Float64Array(C * C);
  for (let n = 0; n < count; n++) {
    const centred = mean.map((m, c) => (vectors[n * C + c] ?? 0) - m);
    for (let i = 0; i < C; i++) {
      const share = (centred[i] ?? 0) / count;
      for (let j = 0; j < C; j++) {
        covariance[i * C + j] = (covariance[i * C + j] ?? 0) + share * (centred[j] ?? 0);
      }
    }
    await rest();
  }
  return { mean, covariance };
}
