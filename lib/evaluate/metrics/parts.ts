import { diagonalOf } from '../../data/image_size.js';
import type { Annotations } from '../../data/landmarks.js';
import {
  filterCategories,
  findLandmarks,
  landmarkName,
  mean,
  topImages,
  TOP_IMAGES,
  type InstabilityInput,
} from './location_instability.js';
import { cellCentre, checkPeaks, type Grid, type Peaks } from './peaks.js';

export interface PartOptions {
  /** Images of the highest activation that count for a filter, default 100. */
  top?: number;
  /** A peak belongs to the nearest landmark within this distance, fraction of the diagonal. */
  radius?: number;
  /** A part is covered by a filter of at least this purity. */
  coveredFrom?: number;
  /** Two filters are duplicates if at least this share of their peaks are neighbours ... */
  sameCell?: number;
  /** ... and their activations correlate at least so much. */
  correlation?: number;
}

export interface PartMetrics {
  /** Mean purity of the filters that fire, 0..1; NaN when none does. */
  purity: number;
  /** Share of each filter's top images whose peak is at its main part; NaN if it never fires. */
  perFilter: Float64Array;
  /** Main part of each filter, `category/part`; undefined where no peak is near a landmark. */
  part: (string | undefined)[];
  /** Landmarks that some filter covers, and those that there are. */
  covered: string[];
  landmarks: string[];
  /** For each filter the stronger filter that it duplicates, else -1. */
  duplicateOf: Int32Array;
  /** Filters that duplicate another. */
  duplicates: number;
}

/**
 * Purity, coverage and duplicates of filters as detectors of the annotated parts.
 *
 * - Each filter is taken on its category (see `locationInstability`), on the 100 images with its highest
 *   activation among those with any landmark. Its peak in an image falls in the part whose landmark is
 *   nearest, if it is within `radius` (default 0.15 of the diagonal); its main part is the most frequent
 *   one, its purity the share of the images whose peak falls there. Landmarks are points, and not every
 *   visible part is annotated: purity is a lower bound.
 * - A part is covered by a filter with this main part and a purity of `coveredFrom` (default 0.5) or more.
 * - A filter duplicates a stronger one (of larger mean activation, and no duplicate itself) of its
 *   category if on its top images at least `sameCell` (default 0.8) of their peaks are in the same or
 *   touching cells and their activations correlate by `correlation` (default 0.8) or more.
 *
 * Throws what `locationInstability` throws.
 */
export function partMetrics(input: InstabilityInput, options: PartOptions = {}): PartMetrics {
  const { peaks, annotations, grid } = input;
  const { top = TOP_IMAGES, radius = 0.15, coveredFrom = 0.5 } = options;
  checkPeaks(peaks, annotations.category.length, grid);
  const landmarks = findLandmarks(annotations);
  const category = filterCategories(peaks, annotations, landmarks);
  const byCategory = annotations.categories.map((_, c) => {
    const own = landmarks.filter((landmark) => landmark.category === c);
    return new Int32Array(new Set(own.flatMap(({ images }) => [...images]))).sort();
  });
  const tops = Array.from(category, (c, f) =>
    topImages(peaks, f, byCategory[c] ?? new Int32Array(0), top),
  );
  const perFilter = new Float64Array(peaks.filters).fill(NaN);
  const part: (string | undefined)[] = [];
  tops.forEach((images, f) => {
    if (images.length === 0) return;
    const counts = new Map<number, number>();
    for (const n of images) {
      const cell = peaks.cell[n * peaks.filters + f] ?? 0;
      const nearest = nearestPart(annotations, n, cellCentre(grid, cell), radius);
      if (nearest >= 0) counts.set(nearest, (counts.get(nearest) ?? 0) + 1);
    }
    const [main, count] = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0] ?? [-1, 0];
    perFilter[f] = count / images.length;
    if (main >= 0)
      part[f] = landmarkName(annotations, { category: category[f] ?? 0, part: main, images });
  });
  part.length = peaks.filters;
  const names = landmarks.map((landmark) => landmarkName(annotations, landmark));
  const covering = new Set(part.filter((_, f) => (perFilter[f] ?? 0) >= coveredFrom));
  const duplicateOf = findDuplicates({ peaks, grid, category, tops }, options);
  return {
    purity: mean(perFilter.filter((value) => !Number.isNaN(value))),
    perFilter,
    part: Array.from(part),
    covered: names.filter((name) => covering.has(name)),
    landmarks: names,
    duplicateOf,
    duplicates: duplicateOf.filter((other) => other >= 0).length,
  };
}

/** Index of the part whose landmark is nearest to a position within the radius, else -1. */
function nearestPart(
  { parts, y, x, size }: Annotations,
  image: number,
  [py, px]: readonly [number, number],
  radius: number,
): number {
  let best = -1;
  let least = radius * diagonalOf(size);
  for (let part = 0; part < parts.length; part++) {
    const at = image * parts.length + part;
    const distance = Math.hypot(py - (y[at] ?? NaN), px - (x[at] ?? NaN));
    if (!(distance <= least) || (best >= 0 && distance === least)) continue;
    best = part;
    least = distance;
  }
  return best;
}

/** Filters whose duplicates are looked for. */
export interface ScoredFilters {
  peaks: Peaks;
  grid: Grid;
  /** Category of each filter, -1 for those that never fire. */
  category: Int32Array;
  /** Top images of each filter. */
  tops: readonly Int32Array[];
}

/** For each filter the stronger filter that it duplicates, else -1: see `partMetrics`. */
export function findDuplicates(scored: ScoredFilters, options: PartOptions = {}): Int32Array {
  const { peaks, category, tops } = scored;
  const { sameCell = 0.8, correlation = 0.8 } = options;
  const activation = (n: number, f: number): number => peaks.value[n * peaks.filters + f] ?? 0;
  const strength = tops.map((images, f) =>
    mean(Float64Array.from(images, (n) => activation(n, f))),
  );
  const order = Array.from(category.keys())
    .filter((f) => (category[f] ?? -1) >= 0)
    .sort((a, b) => (strength[b] ?? 0) - (strength[a] ?? 0) || a - b);
  const kept: number[] = [];
  const duplicateOf = new Int32Array(peaks.filters).fill(-1);
  for (const f of order) {
    const images = tops[f] ?? new Int32Array(0);
    const twin = kept.find((g) => {
      if (category[g] !== category[f] || sharedPeaks(scored, images, f, g) < sameCell) return false;
      const of = (filter: number): Float64Array =>
        Float64Array.from(images, (n) => activation(n, filter));
      return pearson(of(f), of(g)) >= correlation;
    });
    if (twin === undefined) kept.push(f);
    else duplicateOf[f] = twin;
  }
  return duplicateOf;
}

/** Share of images in which the peaks of two filters are in the same or in touching cells. */
function sharedPeaks(
  { peaks, grid }: ScoredFilters,
  images: Int32Array,
  f: number,
  g: number,
): number {
  let same = 0;
  for (const n of images) {
    const a = peaks.cell[n * peaks.filters + f] ?? 0;
    const b = peaks.cell[n * peaks.filters + g] ?? 0;
    const rows = Math.abs(Math.floor(a / grid.columns) - Math.floor(b / grid.columns));
    const columns = Math.abs((a % grid.columns) - (b % grid.columns));
    if (rows <= 1 && columns <= 1) same++;
  }
  return same / images.length;
}

/** Pearson's correlation; 0 when one of the two is constant. */
export function pearson(a: Float64Array, b: Float64Array): number {
  const [meanA, meanB] = [mean(a), mean(b)];
  let [product, squareA, squareB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [da, db] = [(a[i] ?? 0) - meanA, (b[i] ?? 0) - meanB];
    product += da * db;
    squareA += da * da;
    squareB += db * db;
  }
  const norm = Math.sqrt(squareA * squareB);
  return norm > 0 ? product / norm : 0;
}
