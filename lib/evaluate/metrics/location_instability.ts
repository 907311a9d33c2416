import { diagonalOf, sidesOf } from '../../data/image_size.js';
import { annotatedImages, type Annotations } from '../../data/landmarks.js';
import { expected } from '../../errors.js';
import { cellCentre, checkPeaks, type Grid, type Peaks } from './peaks.js';

/** One part of one category, and the images in which it is annotated. */
export interface Landmark {
  category: number;
  part: number;
  /** Indexes of the images, ascending. */
  images: Int32Array;
}

export interface InstabilityInput {
  peaks: Peaks;
  annotations: Annotations;
  grid: Grid;
}

export interface LocationInstability {
  /** Mean over the filters that fire, fraction of the image diagonal; NaN when none does. */
  value: number;
  /** The same for each filter; NaN for those that never fire. */
  perFilter: Float64Array;
  /** Index of the category on which each filter is scored; -1 for those that never fire. */
  category: Int32Array;
  /** Share of the images that count in which each filter fires; below 1 some positions mean nothing. */
  firing: Float64Array;
  /** Filters that never fire: left out of the mean. */
  dead: number;
  /** Images with at least one landmark. */
  images: number;
  /** Names of the landmarks that could be scored, `category/part`. */
  landmarks: string[];
}

/** Images of the highest activation that count for a landmark. */
export const TOP_IMAGES = 100;

/**
 * Location instability [Zhang, Wu, Zhu 2018]: does a filter answer to the same place of the object in
 * each image? Lower is better; a fraction of the image diagonal.
 *
 *   position(f, image) = centre of the cell with the highest activation of filter f, pixels
 *   d(f, l, image)     = |position - landmark l| / diagonal
 *   D(f, l)            = standard deviation (n - 1) of d over the 100 images with the highest activation
 *                        of f among those in which l is annotated
 *   value              = mean over f of mean over l of D(f, l)
 *
 * - The activation of an image is the maximum of the filter's map, its position the first cell in
 *   row-major order that has it. Of images with equal activations the first ones are taken.
 * - Positions, landmarks and diagonal are in pixels of the network's input (all images are stretched to
 *   it): the diagonal is that of the input.
 * - A landmark is one part of one category. Those with fewer than two annotated images are left out;
 *   with fewer than 100 all of them count, also where the filter's activation is 0 (its position is then
 *   the first cell; `firing` tells how often).
 * - With several categories a filter is scored on the landmarks of one: the category with landmarks on
 *   whose images (annotated or not, all that are given) the mean activation is largest; of equals the
 *   first by name.
 * - A filter never fires if its activation is 0 (or less) in every image of every category with landmarks.
 *
 * Throws `E_ARGUMENT` when no landmark has two images, `E_SHAPE`, `E_STATE` for activations that are not
 * finite.
 */
export function locationInstability(
  { peaks, annotations, grid }: InstabilityInput,
  { top = TOP_IMAGES }: { top?: number } = {},
): LocationInstability {
  checkPeaks(peaks, annotations.category.length, grid);
  const landmarks = findLandmarks(annotations);
  const category = filterCategories(peaks, annotations, landmarks);
  const perFilter = new Float64Array(peaks.filters).fill(NaN);
  const firing = new Float64Array(peaks.filters);
  for (let f = 0; f < peaks.filters; f++) {
    const scored = landmarks.filter((landmark) => landmark.category === category[f]);
    if (scored.length === 0) continue;
    const tops = scored.map(({ images }) => topImages(peaks, f, images, top));
    const deviations = scored.map(({ part }, l) =>
      instabilityAt(tops[l] ?? new Int32Array(0), { annotations, part }, (n) =>
        cellCentre(grid, peaks.cell[n * peaks.filters + f] ?? 0),
      ),
    );
    perFilter[f] = mean(deviations);
    const fires = tops.flatMap((images) => [...images].map((n) => activationOf(peaks, n, f) > 0));
    firing[f] = fires.filter(Boolean).length / fires.length;
  }
  const alive = perFilter.filter((value) => !Number.isNaN(value));
  return {
    value: mean(alive),
    perFilter,
    category,
    firing,
    dead: peaks.filters - alive.length,
    images: new Set(landmarks.flatMap(({ images }) => [...images])).size,
    landmarks: landmarks.map((landmark) => landmarkName(annotations, landmark)),
  };
}

/**
 * The parts of each category that at least two images have. Throws `E_ARGUMENT` when there is none,
 * `E_SHAPE`.
 */
export function findLandmarks(annotations: Annotations): Landmark[] {
  const { categories, category, parts, y, x, size } = annotations;
  const length = category.length * parts.length;
  if (y.length !== length || x.length !== length) {
    const what = `${String(category.length)} x ${String(parts.length)} values`;
    const op = 'metrics';
    throw expected(what, 'y and x', [y.length, x.length], { code: 'E_SHAPE', op });
  }
  if (!sidesOf(size).every((side) => side > 0)) {
    throw expected('a number > 0', 'size', size, { op: 'metrics' });
  }
  const landmarks: Landmark[] = [];
  for (let c = 0; c < categories.length; c++) {
    for (let part = 0; part < parts.length; part++) {
      const images = Int32Array.from(category.keys()).filter(
        (n) => category[n] === c && !Number.isNaN(y[n * parts.length + part] ?? NaN),
      );
      if (images.length >= 2) landmarks.push({ category: c, part, images });
    }
  }
  if (landmarks.length > 0) return landmarks;
  const images = annotatedImages(annotations).length;
  throw expected(
    'two or more images that have the same part',
    'landmarks',
    `${String(images)} images with parts, none of them in two`,
    { op: 'locationInstability' },
  );
}

/** `dog/head`, or `head` when the category has no name. */
export function landmarkName(annotations: Annotations, { category, part }: Landmark): string {
  const names = [annotations.categories[category] ?? '', annotations.parts[part] ?? ''];
  return names.filter((name) => name !== '').join('/');
}

/**
 * The category on which each filter is scored: largest mean activation among the categories with
 * landmarks, -1 when it never fires there.
 */
export function filterCategories(
  { filters, value }: Peaks,
  { category, categories }: Annotations,
  landmarks: readonly Landmark[],
): Int32Array {
  const C = categories.length;
  const sums = new Float64Array(C * filters);
  const counts = new Float64Array(C);
  const fires = new Uint8Array(C * filters);
  category.forEach((c, n) => {
    counts[c] = (counts[c] ?? 0) + 1;
    for (let f = 0; f < filters; f++) {
      const activation = value[n * filters + f] ?? 0;
      const at = c * filters + f;
      sums[at] = (sums[at] ?? 0) + activation;
      if (activation > 0) fires[at] = 1;
    }
  });
  const scored = [...new Set(landmarks.map((landmark) => landmark.category))].sort((a, b) => a - b);
  return Int32Array.from({ length: filters }, (_, f) => {
    let best = -1;
    let most = -Infinity;
    for (const c of scored) {
      const activation = (sums[c * filters + f] ?? 0) / (counts[c] ?? 1);
      if (!fires[c * filters + f] || !(activation > most)) continue;
      most = activation;
      best = c;
    }
    return best;
  });
}

/** The `top` images of the highest activation of a filter, strongest first; of equals the first. */
export function topImages(
  peaks: Peaks,
  filter: number,
  images: Int32Array,
  top: number,
): Int32Array {
  const activation = (n: number): number => activationOf(peaks, n, filter);
  return images.toSorted((a, b) => activation(b) - activation(a) || a - b).subarray(0, top);
}

function activationOf({ filters, value }: Peaks, image: number, filter: number): number {
  return value[image * filters + filter] ?? 0;
}

/**
 * Standard deviation (n - 1) over images of the distance between a position [y, x] and a part, as a
 * fraction of the image diagonal.
 */
export function instabilityAt(
  images: Int32Array,
  { annotations, part }: { annotations: Annotations; part: number },
  position: (image: number) => readonly [number, number],
): number {
  const { parts, y, x, size } = annotations;
  const diagonal = diagonalOf(size);
  const distances = Float64Array.from(images, (n) => {
    const at = n * parts.length + part;
    const [py, px] = position(n);
    return Math.hypot(py - (y[at] ?? NaN), px - (x[at] ?? NaN)) / diagonal;
  });
  return deviation(distances);
}

/** Mean; NaN for no values. */
export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ?? 0;
  return sum / values.length;
}

/** Standard deviation with n - 1, in two passes; NaN for fewer than two values. */
export function deviation(values: ArrayLike<number>): number {
  const centre = mean(values);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += ((values[i] ?? 0) - centre) ** 2;
  return values.length < 2 ? NaN : Math.sqrt(sum / (values.length - 1));
}
