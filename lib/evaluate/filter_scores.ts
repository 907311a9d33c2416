import { emptySummary, readImages, type ImageFile } from '../data/images.js';
import type { Annotations } from '../data/landmarks.js';
import { PartlensError } from '../errors.js';
import {
  consistency,
  controls,
  emptyPeaks,
  locationInstability,
  noiseStability,
  partMetrics,
  peaksOf,
  withNoise,
  type Consistency,
  type Controls,
  type Grid,
  type LocationInstability,
  type NoiseStability,
  type PartMetrics,
  type Peaks,
} from './metrics/index.js';
import type { Performer } from '../performer/index.js';
import { Random } from '../random.js';
import type { TrainedExplainer } from '../explainer/trained.js';

/** Peaks of the performer's filters and of both interpretable layers, on the same photographs. */
export type PeakSets = Record<'performer' | 'layer1' | 'layer2', Peaks>;

/** Scores of one set of filters. */
export interface FilterScores extends LocationInstability {
  peaks: Peaks;
  /** Purity, coverage, duplicates. */
  parts: PartMetrics;
  consistency: Consistency;
  /** Where noise was asked for. */
  noise: NoiseStability | undefined;
}

/** Scores of the performer's own filters and of both interpretable layers, with controls. */
export interface ScoredSets extends Record<keyof PeakSets, FilterScores> {
  controls: Controls;
  annotations: Annotations;
  /** Landmark positions that were used. */
  landmarks: number;
}

/** Where the cells of the explained maps lie. */
export function gridOf({ layer: { height, width, geometry } }: Performer): Grid {
  return { rows: height, columns: width, stride: geometry.stride, first: geometry.firstCentre };
}

/** Scores all sets; `noisy`: the peaks with noise in the photographs. */
export function scoreFilters(
  { performer, config }: TrainedExplainer,
  {
    peaks,
    noisy,
    annotations,
  }: { peaks: PeakSets; noisy: PeakSets | undefined; annotations: Annotations },
): ScoredSets {
  const grid = gridOf(performer);
  const score = (set: keyof PeakSets): FilterScores => {
    const input = { peaks: peaks[set], annotations, grid };
    return {
      ...locationInstability(input),
      peaks: peaks[set],
      parts: partMetrics(input),
      consistency: consistency(input),
      noise: noisy && noiseStability({ ...input, noisy: noisy[set] }),
    };
  };
  return {
    performer: score('performer'),
    layer1: score('layer1'),
    layer2: score('layer2'),
    controls: controls({ annotations, grid }, { seed: config.options.seed }),
    annotations,
    landmarks: annotations.y.filter((y) => !Number.isNaN(y)).length,
  };
}

/** Main part of a filter and the category on which it was scored; undefined where it meets none. */
export function mainPart(
  { parts, category }: Pick<FilterScores, 'parts' | 'category'>,
  { categories }: Annotations,
  f: number,
): { name: string; category: string } | undefined {
  const whole = parts.part[f];
  const of = categories[category[f] ?? -1] ?? '';
  return whole === undefined
    ? undefined
    : { name: of === '' ? whole : whole.slice(of.length + 1), category: of };
}

/** Peaks of nothing yet. */
export function emptySets({ config: { network } }: TrainedExplainer, images: number): PeakSets {
  const { channels, filters } = network;
  const [layer1, layer2] = [emptyPeaks(images, filters), emptyPeaks(images, filters)];
  return { performer: emptyPeaks(images, channels), layer1, layer2 };
}

/** Writes the peaks of one photograph, the `i`-th of a batch of maps, as image `n` of the sets. */
export function takePeaks(
  sets: PeakSets,
  maps: Record<keyof PeakSets, Float32Array>,
  { i, n, cells }: { i: number; n: number; cells: number },
): void {
  for (const set of ['performer', 'layer1', 'layer2'] as const) {
    const { filters } = sets[set];
    const one = maps[set].subarray(i * filters * cells, (i + 1) * filters * cells);
    peaksOf(one, { images: 1, filters, cells }, { into: sets[set], first: n });
  }
}

/**
 * The peaks of all sets on photographs with noise of a standard deviation, in their order. The same seed
 * gives the same noise. Throws `E_FILE` when a photograph cannot be read, and the signal's reason when it
 * aborts.
 */
export async function peaksWithNoise(
  explainer: TrainedExplainer,
  images: readonly ImageFile[],
  options: {
    deviation: number;
    signal?: AbortSignal | undefined;
    onProgress?: (done: number) => void;
  },
): Promise<PeakSets> {
  const { performer, config } = explainer;
  const { deviation, signal, onProgress } = options;
  const sets = emptySets(explainer, images.length);
  const summary = emptySummary();
  const batches = readImages(images, performer.preprocessing, {
    batch: performer.batch,
    summary,
    ...(signal ? { signal } : {}),
  });
  const random = new Random(config.options.seed, 'evaluate/noise');
  let done = 0;
  for await (const { images: loaded, pixels } of batches) {
    const noisy = withNoise(pixels, { seed: random.uint32(), deviation });
    const { layer } = await performer.features(noisy, loaded.length);
    const { layer1, layer2 } = await explainer.maps(layer, loaded.length);
    for (let i = 0; i < loaded.length; i++) {
      const at = { i, n: done + i, cells: explainer.cells };
      takePeaks(sets, { performer: layer, layer1, layer2 }, at);
    }
    onProgress?.((done += loaded.length));
  }
  const [skipped] = summary.skipped;
  if (skipped) throw new PartlensError('E_FILE', `${skipped.file}: ${skipped.reason}`);
  return sets;
}
