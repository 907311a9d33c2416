import { showShape, sizeOf, type Shape } from '../../lib/engine/tensor.js';

/**
 * A dense float64 array of up to 4 axes: what references compute on. Reading outside gives 0, so that
 * zero padding needs no words.
 */
export class Grid {
  readonly data: Float64Array;
  readonly #a: number;
  readonly #b: number;
  readonly #c: number;
  readonly #d: number;

  constructor(
    readonly shape: Shape,
    values?: ArrayLike<number>,
  ) {
    [this.#a = 1, this.#b = 1, this.#c = 1, this.#d = 1] = shape;
    this.data = values ? Float64Array.from(values) : new Float64Array(sizeOf(shape));
    if (this.data.length !== sizeOf(shape)) {
      throw new Error(`${String(this.data.length)} values do not fill ${showShape(shape)}`);
    }
  }

  at(i = 0, j = 0, k = 0, l = 0): number {
    const near = i >= 0 && i < this.#a && j >= 0 && j < this.#b;
    const inside = near && k >= 0 && k < this.#c && l >= 0 && l < this.#d;
    return inside ? (this.data[((i * this.#b + j) * this.#c + k) * this.#d + l] ?? 0) : 0;
  }

  set(value: number, i = 0, j = 0, k = 0, l = 0): void {
    this.data[((i * this.#b + j) * this.#c + k) * this.#d + l] = value;
  }

  /** All positions in row-major order, axes that the shape lacks as 0. */
  *cells(): Generator<readonly [number, number, number, number]> {
    for (let i = 0; i < this.#a; i++) {
      for (let j = 0; j < this.#b; j++) {
        for (let k = 0; k < this.#c; k++) {
          for (let l = 0; l < this.#d; l++) yield [i, j, k, l];
        }
      }
    }
  }

  /** A grid of the same shape, element by element. */
  map(f: (value: number, index: number) => number): Grid {
    return new Grid(this.shape, this.data.map(f));
  }
}

/** Element `i` of values that belong to the channels of maps or to the features of rows. */
export function ofChannel(values: Grid, x: Grid, i: number): number {
  if (values.data.length === 1) return values.at();
  const [, C = 1, H = 1, W = 1] = x.shape.length === 1 ? [1, ...x.shape] : x.shape;
  return values.at(Math.floor(i / (H * W)) % C);
}

/** Rounds an intermediate result: `Math.fround` makes the reference a naive float32 loop. */
export type Round = (value: number) => number;
/** No rounding: the reference proper. */
export const exact: Round = (value) => value;

/** The four sizes of a grid; 1 for axes that it lacks. */
export function sizes(grid: Grid): readonly [number, number, number, number] {
  const [a = 1, b = 1, c = 1, d = 1] = grid.shape;
  return [a, b, c, d];
}

/** Largest absolute value. NaN if there is one. */
export function largest(values: ArrayLike<number>): number {
  return values.length === 0 ? 0 : Math.abs(values[indexOfLargest(values)] ?? NaN);
}

/** Where the largest absolute value is, or the first NaN. */
export function indexOfLargest(values: ArrayLike<number>): number {
  let top = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i] ?? NaN);
    if (Number.isNaN(size)) return i;
    if (size > Math.abs(values[top] ?? NaN)) top = i;
  }
  return top;
}

const SMALLEST = 2 ** -126; // of the normal float32 numbers

/** max |got - want| / max |want|, or / 1 where float32 can only hold 0. NaN if any value is. */
export function relativeError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  const difference = Float64Array.from(want, (value, i) => (got[i] ?? NaN) - value);
  const top = largest(want);
  return largest(difference) / (top < SMALLEST ? 1 : top);
}

/**
 * Relative error that a value may have: 3 times that of a naive float32 loop, which excuses nothing
 * above 1e-3 / 3 (overflow, underflow, cancellation), plus `floor`.
 */
export function allowedError(naive: number, floor: number): number {
  return Math.min(3 * naive, 1e-3) + floor;
}
