import type { Random } from '../random.js';

/** At most `most` of some items, drawn by the seed, in their order. */
export function sampleOf<T>(items: readonly T[], most: number, random: Random): T[] {
  if (items.length <= most) return [...items];
  const chosen = random.permutation(items.length).subarray(0, most).sort();
  return Array.from(chosen, (i) => items[i] as T);
}
