import { expected } from '../../errors.js';
import { deviation, mean } from './location_instability.js';

/** Falls of a score in one image, by what its square hides. */
export interface PlaceFalls {
  /** The part of the largest contribution, and of the smallest. */
  largest: number;
  smallest: number;
  /** The peak of a filter drawn at random from those that answer. */
  random: number;
  /** Where the smoothed norm of the features is largest. */
  energy: number;
  /** A cell drawn at random. */
  randomPlace: number;
}

/** Mean of paired differences with its standard error, deviation (n - 1) / sqrt(n); NaN below two images. */
export interface PairedDifference {
  pairedDifference: number;
  standardError: number;
}

/** Mean falls over images, and largest - smallest, paired. */
export interface OcclusionFalls extends PlaceFalls, PairedDifference {
  /** largest - energy, paired: above 0, parts tell more than where the object is. */
  againstEnergy: PairedDifference;
}

/** Means and paired differences of the falls of some images; NaN without any. */
export function occlusionFalls(images: readonly PlaceFalls[]): OcclusionFalls {
  const fall = (place: keyof PlaceFalls): number => mean(images.map((one) => one[place]));
  const paired = (a: keyof PlaceFalls, b: keyof PlaceFalls): PairedDifference => {
    const differences = images.map((one) => one[a] - one[b]);
    return {
      pairedDifference: mean(differences),
      standardError: images.length < 2 ? NaN : deviation(differences) / Math.sqrt(images.length),
    };
  };
  return {
    largest: fall('largest'),
    smallest: fall('smallest'),
    random: fall('random'),
    energy: fall('energy'),
    randomPlace: fall('randomPlace'),
    ...paired('largest', 'smallest'),
    againstEnergy: paired('largest', 'energy'),
  };
}

/** True if the square at the largest contribution costs more than at the smallest by two standard errors. */
export function occlusionHolds({ pairedDifference, standardError }: PairedDifference): boolean {
  return pairedDifference > 2 * standardError;
}

export interface SquareOptions {
  /** Of the image, (C, H, W). */
  channels: number;
  height: number;
  width: number;
  /** Value of each channel behind the square; a channel without one stays as it is. */
  fill: readonly (number | undefined)[];
  /** Its sides, fraction of the image's, default 1/4. */
  share?: number;
}

/**
 * A copy of an image (C, H, W) with a square of one colour around a point [y, x], 0-based pixels; what
 * would lie outside of the image is cut off. Throws `E_SHAPE`.
 */
export function withSquare(
  pixels: Float32Array,
  [y, x]: readonly [number, number],
  { channels, height, width, fill, share = 1 / 4 }: SquareOptions,
): Float32Array {
  if (pixels.length !== channels * height * width) {
    const what = `${String(channels)} x ${String(height)} x ${String(width)} values`;
    throw expected(what, 'pixels', pixels, { code: 'E_SHAPE', op: 'occlusion' });
  }
  const rows = within(y, height, share);
  const columns = within(x, width, share);
  const result = pixels.slice();
  for (let c = 0; c < channels; c++) {
    const value = fill[c];
    if (value === undefined) continue;
    for (let row = rows.from; row < rows.to; row++) {
      const start = (c * height + row) * width;
      result.fill(value, start + columns.from, start + columns.to);
    }
  }
  return result;
}

/** Pixels of one axis that a square around a point hides; `whole`: none of it is cut off. */
export function within(
  centre: number,
  side: number,
  share: number,
): { from: number; to: number; whole: boolean } {
  const length = Math.max(1, Math.round(side * share));
  const from = Math.round(centre - (length - 1) / 2);
  const whole = from >= 0 && from + length <= side;
  return { from: Math.max(0, from), to: Math.max(0, Math.min(side, from + length)), whole };
}

/** Distance of two cells, row-major: the larger of their rows' and columns' [Chebyshev]. */
export function cellDistance(a: number, b: number, columns: number): number {
  const rows = Math.floor(a / columns) - Math.floor(b / columns);
  return Math.max(Math.abs(rows), Math.abs((a % columns) - (b % columns)));
}
