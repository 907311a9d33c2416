import { expected } from '../errors.js';
import { Random } from '../random.js';

/** Which photographs train and which are kept out. */
export interface Split {
  train: string[];
  validation: string[];
}

/**
 * Keeps out a share of the photographs, drawn by the seed; both sides in the order of `images`. At least
 * two photographs train. Throws `E_ARGUMENT` when there are fewer.
 */
export function splitImages(images: readonly string[], share: number, seed: number): Split {
  if (images.length < 2) {
    throw expected('at least two usable photographs', 'images', images.length, { op: 'train' });
  }
  const shuffled = Array.from(images);
  new Random(seed, 'split').shuffle(shuffled);
  const count = Math.min(Math.round(share * images.length), images.length - 2);
  const kept = new Set(shuffled.slice(0, count));
  return {
    train: images.filter((image) => !kept.has(image)),
    validation: images.filter((image) => kept.has(image)),
  };
}
