import { diagonalOf } from '../../data/image_size.js';
import type { Annotations } from '../../data/landmarks.js';
import {
  filterCategories,
  findLandmarks,
  TOP_IMAGES,
  type InstabilityInput,
  type Landmark,
} from './location_instability.js';
import { cellCentre, checkPeaks, type Peaks } from './peaks.js';

/** Every filter on every category that has landmarks: F filters, K categories. */
export interface CategoryTable {
  filters: number;
  /** Names of the categories with landmarks: the columns. */
  categories: string[];
  /** (F, K), fraction of the image diagonal: location instability, mean over the category's landmarks. */
  distance: Float64Array;
  /** (F, K), fraction of the image diagonal: vector instability, mean over the category's landmarks. */
  vector: Float64Array;
  /** (F, K), at most 1: R2 of the category's best landmark; NaN where none of them ever moves. */
  r2: Float64Array;
  /** (F, K): index of that landmark in `landmarks`, or -1. */
  best: Int32Array;
  /** As `findLandmarks` lists them. */
  landmarks: Landmark[];
  /** (F): the column on which each filter is scored, see `locationInstability`; -1 if it never fires. */
  column: Int32Array;
}

/** A table of nothing yet, to be filled some filters at a time with `fillCategoryTable`. */
export function emptyCategoryTable(input: InstabilityInput): CategoryTable {
  const { peaks, annotations, grid } = input;
  checkPeaks(peaks, annotations.category.length, grid);
  const landmarks = findLandmarks(annotations);
  const scored = [...new Set(landmarks.map(({ category }) => category))];
  const { filters } = peaks;
  const values = (): Float64Array => new Float64Array(filters * scored.length).fill(NaN);
  return {
    filters,
    categories: scored.map((c) => annotations.categories[c] ?? ''),
    distance: values(),
    vector: values(),
    r2: values(),
    best: new Int32Array(filters * scored.length).fill(-1),
    landmarks,
    column: filterCategories(peaks, annotations, landmarks).map((c) => scored.indexOf(c)),
  };
}

/**
 * Where each filter peaks against each landmark: what `vectorInstability`, `r2`, `allCategories` and
 * `filtersPerCategory` read.
 *
 *   o              = position(f, image) - landmark l, pixels [y, x]; both as in `locationInstability`
 *   distance(f, l) = standard deviation of |o| / diagonal
 *   vector(f, l)   = root of (var o_y + var o_x) / diagonal
 *   r2(f, l)       = 1 - (var o_y + var o_x) / (var l_y + var l_x)
 *
 * over the 100 images with the highest activation of f among those in which l is annotated; variances with
 * n - 1. A position that never changes has r2 = 0 exactly. A landmark that never moves has no r2. Throws
 * what `locationInstability` throws.
 */
export function categoryTable(
  input: InstabilityInput,
  { top = TOP_IMAGES }: { top?: number } = {},
): CategoryTable {
  const table = emptyCategoryTable(input);
  fillCategoryTable(table, input, { top, from: 0, to: table.filters });
  return table;
}

/** Fills the rows of the filters `from` to `to - 1` of a table. */
export function fillCategoryTable(
  table: CategoryTable,
  { peaks, annotations, grid }: InstabilityInput,
  { top, from, to }: { top: number; from: number; to: number },
): void {
  const K = table.categories.length;
  const columns = new Map(
    [...new Set(table.landmarks.map((l) => l.category))].map((c, k) => [c, k]),
  );
  const counts = new Float64Array(K);
  for (const { category } of table.landmarks) {
    const k = columns.get(category) ?? 0;
    counts[k] = (counts[k] ?? 0) + 1;
  }
  for (let f = from; f < to; f++) {
    table.distance.fill(0, f * K, (f + 1) * K);
    table.vector.fill(0, f * K, (f + 1) * K);
    table.landmarks.forEach((landmark, l) => {
      const images = strongestImages(peaks, f, landmark.images, top);
      const position = (n: number): readonly [number, number] =>
        cellCentre(grid, peaks.cell[n * peaks.filters + f] ?? 0);
      const { distance, vector, r2 } = scatter(
        images,
        { annotations, part: landmark.part },
        position,
      );
      const k = columns.get(landmark.category) ?? 0;
      const at = f * K + k;
      const share = 1 / (counts[k] ?? 1);
      table.distance[at] = (table.distance[at] ?? 0) + share * distance;
      table.vector[at] = (table.vector[at] ?? 0) + share * vector;
      if (Number.isNaN(r2) || r2 <= (table.r2[at] ?? NaN)) return;
      table.r2[at] = r2;
      table.best[at] = l;
    });
  }
}

/** The images of `topImages`, ascending: a sort of numbers alone takes a tenth of the time. */
function strongestImages(peaks: Peaks, f: number, images: Int32Array, top: number): Int32Array {
  if (images.length <= top) return images;
  const { value, filters } = peaks;
  const values = Float32Array.from(images, (n) => value[n * filters + f] ?? 0);
  const least = values.toSorted()[images.length - top] ?? 0;
  let equal = top - values.reduce((above, v) => above + Number(v > least), 0);
  return images.filter((_, i) => {
    const v = values[i] ?? 0;
    return v > least || (v === least && equal-- > 0);
  });
}

/** How the offset of a position [y, x] from a part scatters over images. */
function scatter(
  images: Int32Array,
  { annotations, part }: { annotations: Annotations; part: number },
  position: (image: number) => readonly [number, number],
): { distance: number; vector: number; r2: number } {
  const { parts, y, x, size } = annotations;
  const count = images.length;
  const [py, px, ly, lx, d] = Array.from({ length: 5 }, () => new Float64Array(count)) as Columns;
  images.forEach((n, i) => {
    const at = n * parts.length + part;
    const [row, column] = position(n);
    py[i] = row;
    px[i] = column;
    ly[i] = y[at] ?? NaN;
    lx[i] = x[at] ?? NaN;
    d[i] = Math.sqrt((row - (ly[i] ?? 0)) ** 2 + (column - (lx[i] ?? 0)) ** 2);
  });
  for (const values of [py, px, ly, lx, d]) centre(values);
  let [offset, moved, far] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const [landmarkY, landmarkX] = [ly[i] ?? 0, lx[i] ?? 0];
    offset += ((py[i] ?? 0) - landmarkY) ** 2 + ((px[i] ?? 0) - landmarkX) ** 2;
    moved += landmarkY ** 2 + landmarkX ** 2;
    far += (d[i] ?? 0) ** 2;
  }
  const diagonal = diagonalOf(size);
  return {
    distance: Math.sqrt(far / (count - 1)) / diagonal,
    vector: Math.sqrt(offset / (count - 1)) / diagonal,
    r2: moved > 0 ? 1 - offset / moved : NaN,
  };
}

type Columns = [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];

/** Takes the mean away, measured from the first value: what is constant becomes 0 to the last bit. */
function centre(values: Float64Array): void {
  const first = values[0] ?? 0;
  let sum = 0;
  for (const value of values) sum += value - first;
  const mean = sum / values.length;
  for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) - first - mean;
}
