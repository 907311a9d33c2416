import { Random } from '../random.js';

/**
 * Keeps a random sample of what passes by, the same number of each class at most: every item of a class
 * has the same chance (reservoir sampling). The same seed and items give the same sample.
 */
export class ClassSample<T> {
  readonly #perClass: number;
  readonly #random: Random;
  readonly #seen = new Map<number, number>();
  readonly #kept = new Map<number, T[]>();

  constructor(perClass: number, seed: number) {
    this.#perClass = perClass;
    this.#random = new Random(seed, 'report/sample');
  }

  /** Offers an item; `make` is called only if it is kept, for now. */
  offer(group: number, make: () => T): void {
    const seen = (this.#seen.get(group) ?? 0) + 1;
    this.#seen.set(group, seen);
    const kept = this.#kept.get(group) ?? [];
    this.#kept.set(group, kept);
    if (kept.length < this.#perClass) kept.push(make());
    else {
      const place = this.#random.int(seen);
      if (place < this.#perClass) kept[place] = make();
    }
  }

  /** The sample, class by class. */
  items(): T[] {
    return [...this.#kept].sort(([a], [b]) => a - b).flatMap(([, items]) => items);
  }
}
