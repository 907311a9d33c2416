import { diagonalOf, type ImageSize } from '../../data/image_size.js';
import { expected } from '../../errors.js';
import { mean, TOP_IMAGES } from './location_instability.js';
import { cellCentre, checkPeaks, type Grid, type Peaks } from './peaks.js';

export interface FollowInput {
  /** Peaks of the same filters on the same images, in two placements. */
  a: Peaks;
  b: Peaks;
  /** Where a point [y, x] of image `n` in its first placement lies in the second, pixels. */
  move: (n: number, point: readonly [number, number]) => readonly [number, number];
  grid: Grid;
  size: ImageSize;
  /** Class of each image, from 0; without it all images are of one class. */
  classes?: ArrayLike<number> | undefined;
}

export interface FollowOptions {
  /** Images of the highest activation that count, default 100. */
  top?: number;
  /** A filter that fires in both placements of fewer images is not scored, default 10. */
  least?: number;
  /** Distance that counts as near, fraction of the image diagonal, default 0.1. */
  near?: number;
}

export interface Follow {
  /** Mean over the filters that are scored; NaN when none is. 1: moves with the object, 0: stays put. */
  mean: number;
  median: number;
  /** NaN for filters that are not scored. */
  perFilter: Float64Array;
  /** Share of images, mean over filters, with the peak near where it should be. */
  within: number;
  /** The same share for peaks that stay where they were. */
  stay: number;
  /** Filters that are scored. */
  filters: number;
  images: number;
}

/**
 * Do filters follow what they answer to when the same photograph is placed elsewhere? No landmarks needed.
 *
 *   pos_a, pos_b  centre of the cell of the peak in both placements, pixels of the network's input
 *   T             where the movement of the photograph takes a point
 *   follow(f)     = 1 - sum |pos_b - T(pos_a)|^2 / sum |pos_a - T(pos_a)|^2
 *
 * over the 100 images of the highest activation in the first placement among those in which f fires in both
 * placements; with classes, those of the class on whose images its mean activation is largest (of equals the
 * first). A map that moves with the photograph has 1, a fixed point 0, one that jumps about less than 0 without
 * a bound: hence the median beside the mean. Not scored: filters that fire in both placements of fewer than
 * `least` images, or whose peaks all lie at points that do not move.
 *
 * Cells are coarse: a perfect map loses what rounding to a cell costs. Throws `E_SHAPE`, `E_STATE` for
 * activations that are not finite.
 */
export function follow(
  { a, b, move, grid, size, classes }: FollowInput,
  { top = TOP_IMAGES, least = 10, near = 0.1 }: FollowOptions = {},
): Follow {
  checkPeaks(a, a.images, grid);
  checkPeaks(b, a.images, grid);
  if (b.filters !== a.filters || (classes && classes.length !== a.images)) {
    const what = `${String(a.filters)} filters and ${String(a.images)} classes`;
    const got = [b.filters, classes?.length];
    throw expected(what, 'b and classes', got, { code: 'E_SHAPE', op: 'follow' });
  }
  const limit = near * diagonalOf(size);
  const groups = groupsOf(a.images, classes);
  const perFilter = new Float64Array(a.filters).fill(NaN);
  const [within, stay]: [number[], number[]] = [[], []];
  for (let f = 0; f < a.filters; f++) {
    const images = strongest(a, b, { f, groups, top });
    if (images.length < least) continue;
    const [errors, ways]: [number[], number[]] = [[], []];
    for (const n of images) {
      const at = cellCentre(grid, a.cell[n * a.filters + f] ?? 0);
      const wanted = move(n, at);
      errors.push(distance(cellCentre(grid, b.cell[n * a.filters + f] ?? 0), wanted));
      ways.push(distance(at, wanted));
    }
    const moved = sumOfSquares(ways);
    if (moved === 0) continue;
    perFilter[f] = 1 - sumOfSquares(errors) / moved;
    within.push(mean(errors.map((way) => Number(way < limit))));
    stay.push(mean(ways.map((way) => Number(way < limit))));
  }
  const scored = perFilter.filter((value) => !Number.isNaN(value));
  return {
    mean: mean(scored),
    median: median(scored),
    perFilter,
    within: mean(within),
    stay: mean(stay),
    filters: scored.length,
    images: a.images,
  };
}

/** Images of each class, in the order of the classes. */
function groupsOf(images: number, classes: FollowInput['classes']): number[][] {
  const groups = new Map<number, number[]>();
  for (let n = 0; n < images; n++) {
    const group = classes?.[n] ?? 0;
    const members = groups.get(group);
    if (members) members.push(n);
    else groups.set(group, [n]);
  }
  return [...groups].sort(([c], [d]) => c - d).map(([, members]) => members);
}

/** The images that count for a filter, strongest first; of equals the first. */
function strongest(
  a: Peaks,
  b: Peaks,
  { f, groups, top }: { f: number; groups: readonly number[][]; top: number },
): number[] {
  const value = (peaks: Peaks, n: number): number => peaks.value[n * peaks.filters + f] ?? 0;
  let best: readonly number[] = [];
  let most = -Infinity;
  for (const images of groups) {
    const activation = mean(images.map((n) => value(a, n)));
    if (!(activation > most)) continue;
    most = activation;
    best = images;
  }
  return best
    .filter((n) => value(a, n) > 0 && value(b, n) > 0)
    .sort((m, n) => value(a, n) - value(a, m) || m - n)
    .slice(0, top);
}

function distance(p: readonly [number, number], q: readonly [number, number]): number {
  return Math.hypot(p[0] - q[0], p[1] - q[1]);
}

function sumOfSquares(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value * value, 0);
}

/** Middle value, of an even number the mean of both; NaN for none. */
export function median(values: ArrayLike<number>): number {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  if (sorted.length === 0) return NaN;
  const upper = sorted[half] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? NaN) + upper) / 2;
}
