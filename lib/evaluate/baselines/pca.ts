import { expected } from '../../errors.js';
import type { CodeSource } from '../map_source.js';
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
    throw expected(`rows of ${C}`, 'vectors', vectors, { code: 'E_SHAPE', op: 'pca' });
  }
  const D = Math.min(filters, C);
  const rest = pacer(signal);
  const mean = new Float64Array(C);
  vectors.forEach((x, i) => (mean[i % C] = (mean[i % C] ?? 0) + x / count));
  const covariance = new Float64Array(C * C);
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < C; i++) {
      const x = (vectors[n * C + i] ?? 0) - (mean[i] ?? 0);
      for (let j = 0; j < C; j++) {
        const y = (vectors[n * C + j] ?? 0) - (mean[j] ?? 0);
        covariance[i * C + j] = (covariance[i * C + j] ?? 0) + (x * y) / count;
      }
    }
    await rest();
  }
  const { vectors: E } = await symmetricEigen(covariance, C, signal);
  const encode = async (x: Float32Array, images: number): Promise<Float32Array> => {
    const cells = x.length / (images * C);
    const a = new Float32Array(images * D * cells);
    for (let at = 0; at < images * D; at++) {
      const [image, d] = [Math.floor(at / D), at % D];
      for (let cell = 0; cell < cells; cell++) {
        let sum = 0;
        for (let c = 0; c < C; c++) {
          sum += (E[d * C + c] ?? 0) * ((x[(image * C + c) * cells + cell] ?? 0) - (mean[c] ?? 0));
        }
        a[at * cells + cell] = sum;
      }
      await rest();
    }
    return a;
  };
  const rebuild = async (x: Float32Array, images: number): Promise<Float32Array> => {
    const a = await encode(x, images);
    const cells = x.length / (images * C);
    const y = new Float32Array(x.length);
    for (let at = 0; at < images * C; at++) {
      const [image, c] = [Math.floor(at / C), at % C];
      for (let cell = 0; cell < cells; cell++) {
        let sum = mean[c] ?? 0;
        for (let d = 0; d < D; d++) {
          sum += (E[d * C + c] ?? 0) * (a[(image * D + d) * cells + cell] ?? 0);
        }
        y[at * cells + cell] = sum;
      }
      await rest();
    }
    return y;
  };
  return { name: 'pca', filters: D, maps: encode, rebuild };
}
