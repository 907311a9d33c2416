import { expected } from '../../errors.js';
import { firstClass, scoreOf, type HeadOptions } from './head.js';

/** A number with both tracks, with one of them, and with neither. */
export interface TrackValues<T = number> {
  full: T;
  /** The parts alone. */
  parts: T;
  /** The ordinary track alone. */
  ordinary: T;
  none: T;
}

/** What each of two tracks carries, through the performer's own later layers. */
export interface TrackScores {
  /** Share of the performer's class score that comes through parts; NaN where there is no score to share. */
  share: number;
  /** Share of images with the performer's own first class, 0..1; NaN for an output of one number. */
  agreement: Omit<TrackValues, 'none'>;
  /** Share of pairs of images in which the class follows the parts, 0..1; NaN without pairs. */
  swap: number;
  images: number;
  /** Pairs of images of different classes. */
  pairs: number;
}

/**
 * Shapley values of a game of two players: each is the mean of what one adds to nothing and to the other.
 * They sum to full - none. [Shapley 1953]
 *
 *   parts = ((parts - none) + (full - ordinary)) / 2,  ordinary = ((ordinary - none) + (full - parts)) / 2
 */
export function trackShapley({ full, parts, ordinary, none }: TrackValues): {
  parts: number;
  ordinary: number;
} {
  return {
    parts: (parts - none + (full - ordinary)) / 2,
    ordinary: (ordinary - none + (full - parts)) / 2,
  };
}

/** Outputs of some images, (images, classes) each; `performer`: its own. */
export type TrackOutputs = TrackValues<Float32Array> & { performer: Float32Array };

/**
 * What goes through the parts and what through the ordinary track, batch by batch. Score of an image: its
 * logit of the performer's own first class (the logarithm of the probability behind a softmax), s = Shapley
 * value of the parts, d = score(full) - score(none):
 *
 *   share = sum over images of s / sum over images of d;  of an output of one number  sum s d / sum d^2,
 *
 * since a number may rise or fall. NaN where the sum below is not above 0. 1 where the ordinary track is
 * nothing, 0 where the parts are.
 */
export class TrackComparison {
  readonly #classes: number;
  readonly #softmax: boolean;
  #images = 0;
  #agree = { full: 0, parts: 0, ordinary: 0 };
  #parts = 0;
  #total = 0;
  #pairs = 0;
  #followed = 0;

  constructor({ classes, kind = 'logits' }: HeadOptions) {
    if (!Number.isInteger(classes) || classes < 1) {
      throw expected('an integer >= 1', 'classes', classes, { op: 'tracks' });
    }
    this.#classes = classes;
    this.#softmax = kind === 'probabilities';
  }

  /** Adds images. Throws `E_SHAPE`. */
  add(outputs: TrackOutputs): this {
    const images = this.#images + this.#rows(Object.values(outputs));
    for (let n = 0; n < images - this.#images; n++) {
      const row = (of: keyof TrackOutputs): Float32Array => this.#row(outputs[of], n);
      this.#addImage({
        ...{ performer: row('performer'), full: row('full'), parts: row('parts') },
        ...{ ordinary: row('ordinary'), none: row('none') },
      });
    }
    this.#images = images;
    return this;
  }

  /**
   * Adds images whose parts were taken from others: outputs of the images themselves, of those others, and of
   * the mixture. Pairs of one class, as rebuilt features have it, are left out. Throws `E_SHAPE`.
   */
  addSwapped(outputs: { own: Float32Array; other: Float32Array; mixed: Float32Array }): this {
    const images = this.#rows(Object.values(outputs));
    if (this.#classes === 1) return this;
    for (let n = 0; n < images; n++) {
      const other = firstClass(this.#row(outputs.other, n));
      if (firstClass(this.#row(outputs.own, n)) === other) continue;
      this.#pairs++;
      if (firstClass(this.#row(outputs.mixed, n)) === other) this.#followed++;
    }
    return this;
  }

  scores(): TrackScores {
    const { full, parts, ordinary } = this.#agree;
    const of = (count: number): number => (this.#classes > 1 ? count / this.#images : NaN);
    return {
      share: this.#total > 0 ? this.#parts / this.#total : NaN,
      agreement: { full: of(full), parts: of(parts), ordinary: of(ordinary) },
      swap: this.#pairs > 0 ? this.#followed / this.#pairs : NaN,
      images: this.#images,
      pairs: this.#pairs,
    };
  }

  #addImage({ performer, ...outputs }: TrackOutputs): void {
    const own = firstClass(performer);
    for (const kind of ['full', 'parts', 'ordinary'] as const) {
      if (firstClass(outputs[kind]) === own) this.#agree[kind]++;
    }
    const score = (of: Float32Array): number => scoreOf(of, own, this.#softmax);
    const [full, none] = [score(outputs.full), score(outputs.none)];
    const [parts, ordinary] = [score(outputs.parts), score(outputs.ordinary)];
    const weight = this.#classes > 1 ? 1 : full - none;
    this.#parts += weight * trackShapley({ full, parts, ordinary, none }).parts;
    this.#total += weight * (full - none);
  }

  #row(outputs: Float32Array, n: number): Float32Array {
    return outputs.subarray(n * this.#classes, (n + 1) * this.#classes);
  }

  #rows(outputs: readonly Float32Array[]): number {
    const lengths = outputs.map(({ length }) => length);
    const [length = 0] = lengths;
    const images = length / this.#classes;
    if (Number.isInteger(images) && lengths.every((other) => other === length)) return images;
    const what = `(images, ${String(this.#classes)}) values each`;
    throw expected(what, 'outputs', lengths, { code: 'E_SHAPE', op: 'tracks' });
  }
}
