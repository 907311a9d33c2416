import { Random } from '../../lib/random.js';

/** Values of one input of a test, before they are rounded to float32. */
export type Draw = (random: Random, count: number) => ArrayLike<number>;

const fill = (count: number, value: () => number): number[] => Array.from({ length: count }, value);

/** Standard normal. */
export const normal: Draw = (random, count) => fill(count, () => random.normal());

/** Maps behind a ReLU: half of them 0. */
export const rectified: Draw = (random, count) => fill(count, () => Math.max(0, random.normal()));

/** Uniform in lo..hi. */
export function uniform(lo: number, hi: number): Draw {
  return (random, count) => fill(count, () => random.uniform(lo, hi));
}

/** Integers 0..below-1. */
export function integers(below: number): Draw {
  return (random, count) => fill(count, () => random.int(below));
}

/** All the same. */
export function constant(value: number): Draw {
  return (_, count) => fill(count, () => value);
}

/**
 * Shuffled, evenly spaced values between lo and hi, (hi - lo) / count apart and none halfway: for ops
 * with kinks, so that no small step changes a winner or a sign.
 */
export function distinct(lo = -2, hi = 2): Draw {
  return (random, count) =>
    Float64Array.from(random.permutation(count), (rank) => lo + ((hi - lo) * (rank + 0.4)) / count);
}

/** A value of its own for every place of a test. */
export function seeded(label: string): Random {
  return new Random(1, label);
}
