import type { ImageFile } from '../data/images.js';
import { drawPlacement, movePoint, type Placement } from '../data/placement.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { Random } from '../random.js';
import { gridOf } from './filter_scores.js';
import type { MapSource } from './map_source.js';
import { emptyPeaks, follow, randomPeaks, type Follow, type Peaks } from './metrics/index.js';
import { ofSet, peaksOfPhotographs, type PeakSets } from './peak_sets.js';
import { sampleOf } from './sample.js';

/** Photographs that are placed, unless a number is given. */
export const JITTERED = 400;

export interface FollowOptions {
  /** Photographs that are placed, default 400; of more a seeded sample. */
  photographs?: number | undefined;
  /** More sets of maps beside the performer's and both interpretable layers': controls, for one. */
  sources?: readonly MapSource[] | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * How the filters of each set follow photographs that are placed elsewhere (`metrics.follow`), by the name of
 * the set. Each photograph is read again and shown twice, with its sides at 0.5 to 0.9 of the input's, edges
 * repeated around it; where depends on its path and the run's seed alone. A filter is scored on the class
 * folder that it answers to most. Throws `E_FILE` when a photograph cannot be read, and the signal's reason.
 */
export async function scoreFollow(
  explainer: TrainedExplainer,
  images: readonly ImageFile[],
  options: FollowOptions = {},
): Promise<Record<string, Follow>> {
  const { performer, config } = explainer;
  const { photographs = JITTERED, sources = [], signal, onProgress } = options;
  const { seed } = config.options;
  const files = sampleOf(images, photographs, new Random(seed, 'evaluate/jitter'));
  const frame = performer.preprocessing;
  const placementOf = ({ path }: ImageFile, which: string): Placement =>
    drawPlacement(frame, new Random(seed, `evaluate/jitter/${which}/${path}`));
  const peaks = async (which: string, before: number): Promise<PeakSets> =>
    peaksOfPhotographs({ explainer, sources }, files, {
      signal,
      place: (file) => placementOf(file, which),
      onProgress: (done) => onProgress?.(before + done, 2 * files.length),
    });
  const [a, b] = [await peaks('a', 0), await peaks('b', files.length)];
  const places = files.map((file) => [placementOf(file, 'a'), placementOf(file, 'b')] as const);
  const names = [...new Set(files.map(({ className }) => className))];
  const classes = files.map(({ className }) => names.indexOf(className));
  const scoreOf = (first: Peaks, second: Peaks): Follow =>
    follow({
      a: first,
      b: second,
      move: (n, point) => {
        const [from, to] = places[n] ?? [];
        return from && to ? movePoint(point, from, to) : point;
      },
      grid: gridOf(performer),
      size: frame.size,
      classes,
    });
  const sets = Object.keys(a).map((name) => [name, scoreOf(ofSet(a, name), ofSet(b, name))]);
  const [fixed, random] = positions(explainer, files.length);
  return {
    ...(Object.fromEntries(sets) as Record<string, Follow>),
    fixedPositionCentre: scoreOf(fixed, fixed),
    random: scoreOf(...random),
  };
}

/** Controls that see no photograph: the cell in the middle, and random cells in each placement. */
function positions(
  { performer, config }: TrainedExplainer,
  images: number,
): [fixed: Peaks, random: [Peaks, Peaks]] {
  const grid = gridOf(performer);
  const fixed = emptyPeaks(images, 1);
  fixed.value.fill(1);
  fixed.cell.fill((grid.rows >> 1) * grid.columns + (grid.columns >> 1));
  const { seed } = config.options;
  return [
    fixed,
    [randomPeaks({ images, grid }, { seed }), randomPeaks({ images, grid }, { seed: seed + 1 })],
  ];
}
