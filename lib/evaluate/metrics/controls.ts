import { sidesOf } from '../../data/image_size.js';
import type { Annotations } from '../../data/landmarks.js';
import { Random } from '../../random.js';
import {
  findLandmarks,
  instabilityAt,
  locationInstability,
  mean,
  type Landmark,
} from './location_instability.js';
import { cellCentre, emptyPeaks, type Grid, type Peaks } from './peaks.js';

export interface Controls {
  /** Location instability of the best single cell of the grid, for all categories the same. */
  fixedPositionBest: number;
  /** That cell, row-major. */
  fixedPositionBestCell: number;
  /** Location instability of the centre of the image. */
  fixedPositionCentre: number;
  /** Location instability of filters with random activations and positions. */
  random: number;
}

/**
 * What a small location instability is worth: on centred objects a fixed position has one, too.
 *
 * - A fixed position has no activation: all images in which a landmark is annotated count, not 100 of
 *   them (the estimate of a standard deviation does not depend on their number), and each category
 *   counts alike: mean over categories of the mean over their landmarks.
 * - `fixedPositionCentre`: the middle of the image, ((height - 1) / 2, (width - 1) / 2).
 * - `random`: `filters` filters (default 64) whose activation in each image is uniformly random and whose
 *   peak is a random cell, scored as filters are. The same seed gives the same number.
 *
 * Fractions of the image diagonal. Throws what `locationInstability` throws.
 */
export function controls(
  { annotations, grid }: { annotations: Annotations; grid: Grid },
  { seed, filters = 64 }: { seed: number; filters?: number },
): Controls {
  const landmarks = findLandmarks(annotations);
  const [height, width] = sidesOf(annotations.size);
  const best = bestFixedPosition({ annotations, grid });
  return {
    fixedPositionBest: best.value,
    fixedPositionBestCell: best.cell,
    fixedPositionCentre: fixedPosition(annotations, landmarks, [(height - 1) / 2, (width - 1) / 2]),
    random: randomPositions({ annotations, grid }, seed, filters),
  };
}

/** The cell of the least location instability, row-major, as `controls` scores it. */
export function bestFixedPosition({
  annotations,
  grid,
}: {
  annotations: Annotations;
  grid: Grid;
}): { value: number; cell: number } {
  const landmarks = findLandmarks(annotations);
  let best = { value: Infinity, cell: 0 };
  for (let cell = 0; cell < grid.rows * grid.columns; cell++) {
    const value = fixedPosition(annotations, landmarks, cellCentre(grid, cell));
    if (value < best.value) best = { value, cell };
  }
  return best;
}

function fixedPosition(
  annotations: Annotations,
  landmarks: readonly Landmark[],
  position: readonly [number, number],
): number {
  const byCategory = new Map<number, number[]>();
  for (const { category, part, images } of landmarks) {
    const value = instabilityAt(images, { annotations, part }, () => position);
    byCategory.set(category, [...(byCategory.get(category) ?? []), value]);
  }
  return mean([...byCategory.values()].map(mean));
}

function randomPositions(
  { annotations, grid }: { annotations: Annotations; grid: Grid },
  seed: number,
  filters: number,
): number {
  const peaks = randomPeaks({ images: annotations.category.length, grid }, { seed, filters });
  return locationInstability({ peaks, annotations, grid }).value;
}

/** Peaks of `filters` filters (default 64) with uniformly random activations in random cells. */
export function randomPeaks(
  { images, grid }: { images: number; grid: Grid },
  { seed, filters = 64 }: { seed: number; filters?: number },
): Peaks {
  const random = new Random(seed, 'controls/random');
  const peaks = emptyPeaks(images, filters);
  for (let i = 0; i < peaks.value.length; i++) {
    peaks.value[i] = random.uniform();
    peaks.cell[i] = random.int(grid.rows * grid.columns);
  }
  return peaks;
}

/**
 * A fixed position [y, x] as something that every metric scores: one filter for each category, which
 * fires in all images of this category and in no others, and a grid of which that position is the only
 * cell. Metrics of it with `top: Infinity` count all images and each category alike.
 */
export function fixedPeaks(
  { category, categories }: Annotations,
  position: readonly [number, number],
): { peaks: Peaks; grid: Grid } {
  const filters = categories.length;
  const peaks = emptyPeaks(category.length, filters);
  category.forEach((c, n) => (peaks.value[n * filters + c] = 1));
  return { peaks, grid: { rows: 1, columns: 1, stride: [1, 1], first: position } };
}
