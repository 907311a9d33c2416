import { pacer } from './pace.js';

/** y = W x + b at each cell: W (outputs, inputs) row-major, b (outputs). */
export interface Affine {
  inputs: number;
  outputs: number;
  weights: Float64Array;
  bias?: Float64Array;
}

/** Maps x (count, inputs, cells) to (count, outputs, cells); sums in float64. */
export async function affine(
  { inputs: C, outputs: D, weights, bias }: Affine,
  x: Float32Array,
  count: number,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const cells = x.length / (count * C);
  const result = new Float32Array(count * D * cells);
  const sums = new Float64Array(cells);
  const rest = pacer(signal);
  for (let at = 0; at < count * D; at++) {
    const [image, d] = [Math.floor(at / D), at % D];
    sums.fill(bias?.[d] ?? 0);
    for (let c = 0; c < C; c++) {
      const w = weights[d * C + c] ?? 0;
      const from = (image * C + c) * cells;
      for (let i = 0; i < cells; i++) sums[i] = (sums[i] ?? 0) + w * (x[from + i] ?? 0);
    }
    result.set(sums, at * cells);
    await rest();
  }
  return result;
}

/** Rows as columns: (rows, columns) to (columns, rows). */
export function transposed(matrix: Float64Array, rows: number, columns: number): Float64Array {
  return Float64Array.from({ length: matrix.length }, (_, at) => {
    return matrix[(at % rows) * columns + Math.floor(at / rows)] ?? 0;
  });
}
