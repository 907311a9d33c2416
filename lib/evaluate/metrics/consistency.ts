import { sidesOf } from '../../data/image_size.js';
import { expected } from '../../errors.js';
import { Random } from '../../random.js';
import {
  filterCategories,
  findLandmarks,
  landmarkName,
  mean,
  type InstabilityInput,
  type Landmark,
} from './location_instability.js';
import { cellCentre, checkPeaks, type Peaks } from './peaks.js';

export interface RegionOptions {
  /** Half the side of the square around a peak, fraction of the image's side, default 36/224. */
  half?: number;
}

export interface ConsistencyOptions extends RegionOptions {
  /** A filter is consistent if it meets one part in at least this share of images, default 0.8. */
  threshold?: number;
}

export interface Consistency {
  /** Share of the filters that fire which are consistent, 0..1; NaN when none fires. */
  value: number;
  /** Largest share of images in which the filter meets one and the same part; NaN if it never fires. */
  perFilter: Float64Array;
  /** That part, `category/part`; undefined where no peak is near a landmark. */
  part: (string | undefined)[];
}

export interface NoiseStability {
  /** Mean over the filters that fire, 0..1; NaN when none does. */
  value: number;
  /** Share of images in which noise does not change the parts that the filter meets. */
  perFilter: Float64Array;
}

const HALF = 36 / 224;

/**
 * Consistency score [Huang 2023]: does a filter meet the same part in each image?
 *
 *   o(f, k, image) = 1 if landmark k lies in the square of side 2 half around the peak of filter f, else 0
 *   a(f, k)        = sum over images of o(f, k, image) / number of images in which k is annotated
 *   value          = mean over f of [max over k of a(f, k) >= threshold]
 *
 * As for `locationInstability`, a filter is scored on its category, with the landmarks of two or more
 * images. All images of the category count, not the strongest alone; where a filter is silent it meets
 * nothing. The peak is the centre of the strongest cell; the lower and right sides of the square do not
 * belong to it. Throws what `locationInstability` throws.
 */
export function consistency(
  input: InstabilityInput,
  { half = HALF, threshold = 0.8 }: ConsistencyOptions = {},
): Consistency {
  const { peaks, annotations } = input;
  const perFilter = new Float64Array(peaks.filters).fill(NaN);
  const part = new Array<string | undefined>(peaks.filters).fill(undefined);
  for (const { f, landmarks } of scoredFilters(input)) {
    perFilter[f] = 0;
    for (const landmark of landmarks) {
      const met = landmark.images.filter((n) => meets(input, { n, f, part: landmark.part, half }));
      const share = met.length / landmark.images.length;
      if (share <= (perFilter[f] ?? 0)) continue;
      perFilter[f] = share;
      part[f] = landmarkName(annotations, landmark);
    }
  }
  const alive = perFilter.filter((value) => !Number.isNaN(value));
  return { value: mean(alive.map((share) => (share >= threshold ? 1 : 0))), perFilter, part };
}

/**
 * Stability score [Huang 2023]: does a filter meet the same parts when noise is added to the image?
 * `noisy`: peaks of the same filters on the same images with noise (`withNoise`).
 *
 *   value = mean over f of the share of images in which o(f, k, image) = o(f, k, image + noise) for all k
 *
 * with o as in `consistency`. The images of the filter's category in which it fires without noise count,
 * if they have landmarks; where noise silences it, it is not stable. Throws what `locationInstability`
 * throws.
 */
export function noiseStability(
  input: InstabilityInput & { noisy: Peaks },
  { half = HALF }: RegionOptions = {},
): NoiseStability {
  const { peaks, noisy, annotations, grid } = input;
  checkPeaks(noisy, annotations.category.length, grid);
  if (noisy.filters !== peaks.filters) {
    throw expected(`peaks of ${String(peaks.filters)} filters`, 'noisy', noisy.filters, {
      code: 'E_SHAPE',
      op: 'metrics',
    });
  }
  const perFilter = new Float64Array(peaks.filters).fill(NaN);
  const other = { peaks: noisy, annotations, grid };
  for (const { f, landmarks } of scoredFilters(input)) {
    const images = new Set(landmarks.flatMap((landmark) => [...landmark.images]));
    const firing = [...images].filter((n) => fires(peaks, n, f));
    const stable = firing.filter((n) => {
      const same = ({ part }: Landmark): boolean =>
        meets(input, { n, f, part, half }) === meets(other, { n, f, part, half });
      return fires(noisy, n, f) && landmarks.every(same);
    });
    perFilter[f] = stable.length / firing.length;
  }
  return { value: mean(perFilter.filter((value) => !Number.isNaN(value))), perFilter };
}

export interface NoiseOptions {
  seed: number;
  /** Standard deviation, in the values that the network sees (after mean and std), default 0.2. */
  deviation?: number;
  /** Noise beyond it is cut off, default 1.25 times the deviation. */
  limit?: number;
}

/**
 * A copy of network inputs with normal noise, as the stability score takes it [Huang 2023]. The same seed
 * gives the same noise.
 */
export function withNoise(
  pixels: Float32Array,
  { seed, deviation = 0.2, limit = 1.25 * deviation }: NoiseOptions,
): Float32Array {
  const random = new Random(seed, 'metrics/noise');
  return pixels.map(
    (value) => value + Math.max(-limit, Math.min(limit, deviation * random.normal())),
  );
}

/** The filters that fire, each with the landmarks of its category. */
function scoredFilters({
  peaks,
  annotations,
  grid,
}: InstabilityInput): { f: number; landmarks: Landmark[] }[] {
  checkPeaks(peaks, annotations.category.length, grid);
  const all = findLandmarks(annotations);
  return Array.from(filterCategories(peaks, annotations, all), (category, f) => ({
    f,
    landmarks: all.filter((landmark) => landmark.category === category),
  })).filter(({ landmarks }) => landmarks.length > 0);
}

function fires({ filters, value }: Peaks, n: number, f: number): boolean {
  return (value[n * filters + f] ?? 0) > 0;
}

/** Whether a part of image `n` lies in the square around the peak of filter `f`. */
function meets(
  { peaks, annotations, grid }: InstabilityInput,
  { n, f, part, half }: { n: number; f: number; part: number; half: number },
): boolean {
  if (!fires(peaks, n, f)) return false;
  const { size, parts, y, x } = annotations;
  const [cy, cx] = cellCentre(grid, peaks.cell[n * peaks.filters + f] ?? 0);
  const at = n * parts.length + part;
  const [height, width] = sidesOf(size);
  const within = (centre: number, place: number, side: number): boolean =>
    place >= centre - half * side && place < centre + half * side;
  return within(cy, y[at] ?? NaN, height) && within(cx, x[at] ?? NaN, width);
}
