import { createHash } from 'node:crypto';
import { expected } from './errors.js';

/** Everything a generator needs to go on: plain JSON, made of numbers below 2^32 and a string. */
export interface RandomState {
  /** Seed and labels that the stream started from. */
  key: string;
  words: [number, number, number, number];
  /** The second number of the last pair that `normal` drew. */
  spare: number | null;
}

/** Arrays that `shuffle` takes. */
type Shuffled = unknown[] | Int32Array | Uint32Array | Float32Array;

/**
 * Seeded random numbers: xoshiro128** [Blackman, Vigna 2021], started from the SHA-256 of seed and
 * label, so that streams with different labels are independent of each other and of their order of use.
 * Equal on every machine. Not for secrets.
 */
export class Random {
  #key: string;
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;
  #spare: number | undefined;

  /** `seed`: an integer from 0 to 2^53 - 1; `label`: what the numbers are for. */
  constructor(seed: number, label = '') {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw expected('an integer from 0 to 2^53 - 1', 'seed', seed, { op: 'random' });
    }
    this.#key = join(String(seed), label);
    this.#start();
  }

  /** A generator that goes on where `state()` was taken. Throws `E_ARGUMENT` for anything else. */
  static restore(state: RandomState): Random {
    const { key, words, spare } = state;
    const valid = // it may come from a file
      typeof key === 'string' &&
      (words as number[]).length === 4 &&
      words.every((word) => Number.isInteger(word) && word >= 0 && word < 2 ** 32) &&
      words.some((word) => word !== 0) &&
      (spare === null || Number.isFinite(spare));
    if (!valid) throw expected('a state of a generator', 'state', state, { op: 'random' });
    const random = new Random(0);
    random.#key = key;
    [random.#a, random.#b, random.#c, random.#d] = words;
    random.#spare = spare ?? undefined;
    return random;
  }

  /** Where the stream is now. */
  state(): RandomState {
    return {
      key: this.#key,
      words: [this.#a >>> 0, this.#b >>> 0, this.#c >>> 0, this.#d >>> 0],
      spare: this.#spare ?? null,
    };
  }

  /**
   * A new stream for one use. It depends on the seed and the labels alone, not on what was drawn so
   * far: `new Random(1).split('a').split('b')` is `new Random(1, 'a/b')`.
   */
  split(label: string): Random {
    const random = new Random(0);
    random.#key = join(this.#key, label);
    random.#start();
    return random;
  }

  /** An integer from 0 to 2^32 - 1. */
  uint32(): number {
    const b = this.#b;
    const product = Math.imul(b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9);
    this.#c ^= this.#a;
    this.#d ^= b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= b << 9;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  /** A number in [lo, hi), with 53 random bits. */
  uniform(lo = 0, hi = 1): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return lo + ((hi - lo) * (high * 2 ** 26 + low)) / 2 ** 53;
  }

  /** A number of the normal distribution with mean 0 and standard deviation 1 (Marsaglia's method). */
  normal(): number {
    const spare = this.#spare;
    if (spare !== undefined) {
      this.#spare = undefined;
      return spare;
    }
    for (;;) {
      const u = (this.uint32() + 0.5) / 2 ** 31 - 1;
      const v = (this.uint32() + 0.5) / 2 ** 31 - 1;
      const square = u * u + v * v;
      if (square >= 1) continue;
      const factor = Math.sqrt((-2 * Math.log(square)) / square);
      this.#spare = v * factor;
      return u * factor;
    }
  }

  /** An integer from 0 to n - 1, all equally likely; n from 1 to 2^32. */
  int(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw expected('an integer from 1 to 2^32', 'n', n, { op: 'random' });
    }
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      const word = this.uint32();
      if (word < limit) return word % n;
    }
  }

  /** Shuffles in place (Fisher-Yates) and returns the array. */
  shuffle<T extends Shuffled>(array: T): T {
    for (let i = array.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const swapped = array[i];
      array[i] = array[j];
      array[j] = swapped;
    }
    return array;
  }

  /** The numbers 0 .. n - 1 in random order. */
  permutation(n: number): Int32Array {
    return this.shuffle(Int32Array.from({ length: n }, (_, i) => i));
  }

  #start(): void {
    const hash = createHash('sha256').update(this.#key).digest();
    [this.#a, this.#b, this.#c] = [hash.readInt32LE(0), hash.readInt32LE(4), hash.readInt32LE(8)];
    this.#d = hash.readInt32LE(12) | 1; // never all zero
  }
}

function join(key: string, label: string): string {
  return label === '' ? key : `${key}/${label}`;
}
