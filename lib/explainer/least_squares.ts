import { expected } from '../errors.js';
import { inPieces, pacer } from '../pace.js';
import { Random } from '../random.js';

/** Added to the diagonal, as a share of its mean: directions without data stay small. */
const RIDGE = 1e-4;

/**
 * Least squares from D channels to S channels, cell by cell, with a constant: y = W x + b. Cells are drawn
 * from the seed, `most` of them in all. Sums are float64; the normal equations (D + 1) x (D + 1) are solved
 * by Cholesky's factors with a ridge of 1e-4 of their mean diagonal.
 */
export class LeastSquares {
  readonly #inputs: number;
  readonly #outputs: number;
  readonly #most: number;
  readonly #random: Random;
  /** X^T X, lower triangle, and X^T Y; the constant is the last input. */
  readonly #gram: Float64Array;
  readonly #cross: Float64Array;
  #cells = 0;

  constructor(inputs: number, outputs: number, { seed, most }: { seed: number; most: number }) {
    this.#inputs = inputs;
    this.#outputs = outputs;
    this.#most = most;
    this.#random = new Random(seed, 'least squares');
    this.#gram = new Float64Array((inputs + 1) ** 2);
    this.#cross = new Float64Array((inputs + 1) * outputs);
  }

  /** Takes in cells of maps x (images, D, q, r) and y (images, S, q, r), its share of one of `batches`. */
  async add(
    x: Float32Array,
    y: Float32Array,
    { images, batches }: { images: number; batches: number },
  ): Promise<void> {
    const pace = pacer();
    const [D, S] = [this.#inputs, this.#outputs];
    const cells = x.length / (images * D);
    const wanted = Math.min(Math.ceil(this.#most / batches), images * cells);
    const input = new Float64Array(D + 1);
    input[D] = 1;
    for (let n = 0; n < wanted; n++) {
      const at = this.#random.int(images * cells);
      const [image, cell] = [Math.floor(at / cells), at % cells];
      for (let d = 0; d < D; d++) input[d] = x[(image * D + d) * cells + cell] ?? 0;
      this.#addCell(input, (s) => y[(image * S + s) * cells + cell] ?? 0);
      await pace();
    }
    this.#cells += wanted;
  }

  #addCell(input: Float64Array, output: (s: number) => number): void {
    const [size, S] = [input.length, this.#outputs];
    for (let i = 0; i < size; i++) {
      const value = input[i] ?? 0;
      if (value === 0) continue;
      for (let j = 0; j <= i; j++) add(this.#gram, i * size + j, value * (input[j] ?? 0));
      for (let s = 0; s < S; s++) add(this.#cross, i * S + s, value * output(s));
    }
  }

  /** W (S, D) and b (S), row-major. The event loop gets its turns. */
  async solve(): Promise<{ weights: Float32Array; bias: Float32Array }> {
    const [D, S] = [this.#inputs, this.#outputs];
    if (this.#cells === 0) throw expected('cells', 'least squares', 'none');
    const solved = await this.#substitute(await this.#factor(), pacer());
    const weights = new Float32Array(S * D);
    await inPieces(weights.length, (from, to) => {
      for (let at = from; at < to; at++) {
        weights[at] = solved[(at % D) * S + Math.floor(at / D)] ?? 0;
      }
    });
    return { weights, bias: Float32Array.from(solved.subarray(D * S)) };
  }

  /** Cholesky's factor L of X^T X + ridge, lower triangle. */
  async #factor(): Promise<Float64Array> {
    const pace = pacer();
    const size = this.#inputs + 1;
    const L = this.#gram.slice();
    let trace = 0;
    for (let i = 0; i < size; i++) trace += L[i * size + i] ?? 0;
    for (let i = 0; i < size; i++) add(L, i * size + i, (RIDGE * trace) / size);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j <= i; j++) {
        let sum = L[i * size + j] ?? 0;
        for (let k = 0; k < j; k++) sum -= (L[i * size + k] ?? 0) * (L[j * size + k] ?? 0);
        L[i * size + j] = i === j ? Math.sqrt(sum) : sum / (L[j * size + j] ?? 1);
        if (j % 64 === 0) await pace();
      }
    }
    return L;
  }

  /** Solves L L^T Z = X^T Y, Z (D + 1, S). */
  async #substitute(L: Float64Array, pace: () => Promise<void>): Promise<Float64Array> {
    const [size, S] = [this.#inputs + 1, this.#outputs];
    const z = this.#cross.slice();
    const reduce = (i: number, k: number, factor: number): void => {
      if (factor === 0) return;
      for (let s = 0; s < S; s++) add(z, i * S + s, -factor * (z[k * S + s] ?? 0));
    };
    const divide = (i: number): void => {
      const pivot = L[i * size + i] ?? 1;
      for (let s = 0; s < S; s++) z[i * S + s] = (z[i * S + s] ?? 0) / pivot;
    };
    for (let i = 0; i < size; i++) {
      for (let k = 0; k < i; k++) reduce(i, k, L[i * size + k] ?? 0);
      divide(i);
      await pace();
    }
    for (let i = size - 1; i >= 0; i--) {
      for (let k = i + 1; k < size; k++) reduce(i, k, L[k * size + i] ?? 0);
      divide(i);
      await pace();
    }
    return z;
  }
}

function add(sums: Float64Array, at: number, value: number): void {
  sums[at] = (sums[at] ?? 0) + value;
}

/** Weights (S, D) of a 1 x 1 convolution as the centre taps of one of side k, row-major (S, D, k, k). */
export function centreTaps(weights: Float32Array, k: number): Float32Array {
  const taps = k * k;
  const result = new Float32Array(weights.length * taps);
  weights.forEach((w, i) => (result[i * taps + (taps - 1) / 2] = w));
  return result;
}
