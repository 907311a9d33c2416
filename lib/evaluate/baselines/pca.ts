import { conv2d } from '../../engine/ops/index.js';
import { principalDirections } from '../../explainer/principal.js';
import { RowProducts } from '../../explainer/row_products.js';
import { meanRow, rowsIn, shifted, transposed } from '../../explainer/vectors.js';
import { pacer } from '../../pace.js';
import type { FitOptions, FittedCode } from './fitted.js';

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
  const { directions: E } = await principalDirections(centred, {
    ...{ channels: C, count: D, seed, device, signal },
  });
  const products = await RowProducts.open(centred, { rows, channels: C, filters: D }, device);
  try {
    await orient(E, await products.project(E), { rows, stride: D, C, signal });
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
