import { expected } from '../../errors.js';

/**
 * Relative error of rebuilt features over many images, |h - x| / |x|, Euclidean norms over all elements
 * of all images: 0 is perfect, 1 is as bad as rebuilding 0. Batches are added one by one; sums in float64.
 */
export class RelativeError {
  #difference = 0;
  #norm = 0;

  /** `h` rebuilt, `x` the performer's; same length. Throws `E_SHAPE`. */
  add(h: Float32Array, x: Float32Array): this {
    if (h.length !== x.length) {
      throw expected(`${String(x.length)} values`, 'h', h, {
        code: 'E_SHAPE',
        op: 'relativeError',
      });
    }
    let difference = 0;
    let norm = 0;
    for (let i = 0; i < x.length; i++) {
      const wanted = x[i] ?? 0;
      difference += ((h[i] ?? 0) - wanted) ** 2;
      norm += wanted * wanted;
    }
    this.#difference += difference;
    this.#norm += norm;
    return this;
  }

  /** NaN when nothing was added; infinite when only 0 was to be rebuilt, and was not. */
  get value(): number {
    return this.#difference === 0 && this.#norm > 0 ? 0 : Math.sqrt(this.#difference / this.#norm);
  }
}

/** Relative error |h - x| / |x| of one pair of arrays. Throws `E_SHAPE`. */
export function relativeError(h: Float32Array, x: Float32Array): number {
  return new RelativeError().add(h, x).value;
}
