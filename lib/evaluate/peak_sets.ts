import { emptySummary, readImages, type ImageFile } from '../data/images.js';
import type { Placement } from '../data/placement.js';
import { expected, PartlensError } from '../errors.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { Random } from '../random.js';
import type { MapSource } from './map_source.js';
import { emptyPeaks, peaksOf, withNoise, type Peaks } from './metrics/index.js';

/** The sets that every run has: the performer's filters and both interpretable layers. */
export const OWN_SETS = ['performer', 'layer1', 'layer2'] as const;

/** Peaks of `OWN_SETS`, and of sources by their name, on the same photographs. */
export type PeakSets = Readonly<Record<string, Peaks>> &
  Readonly<Record<(typeof OWN_SETS)[number], Peaks>>;

/** Maps that peaks are taken of. */
export interface MapMakers {
  explainer: TrainedExplainer;
  sources: readonly MapSource[];
}

/** Peaks of a set that is there. */
export function ofSet(sets: PeakSets, name: string): Peaks {
  const peaks = sets[name];
  if (peaks) return peaks;
  throw new PartlensError('E_INTERNAL', `no peaks of ${name}`);
}

/** Filters of each set by its name. */
export function setSizes({ explainer, sources }: MapMakers): Record<string, number> {
  const { channels, filters } = explainer.config.network;
  return {
    ...{ performer: channels, layer1: filters, layer2: filters },
    ...Object.fromEntries(sources.map((source) => [source.name, source.filters])),
  };
}

/** Peaks of nothing yet. */
export function emptySets(makers: MapMakers, images: number): PeakSets {
  const sets = Object.entries(setSizes(makers)).map(
    ([name, filters]) => [name, emptyPeaks(images, filters)] as const,
  );
  return Object.fromEntries(sets) as PeakSets;
}

/** Maps of all sets by name, from the performer's maps of some photographs and the explainer's. */
export async function mapsOfSets(
  sources: readonly MapSource[],
  own: Readonly<Record<(typeof OWN_SETS)[number], Float32Array>>,
  { count, cells }: { count: number; cells: number },
): Promise<Record<string, Float32Array>> {
  const { performer, layer1, layer2 } = own;
  const maps: Record<string, Float32Array> = { performer, layer1, layer2 };
  for (const source of sources) {
    const made = await source.maps(performer, count);
    const length = count * source.filters * cells;
    if (made.length !== length) {
      throw expected(`${String(length)} values`, `maps of ${source.name}`, made, {
        code: 'E_SHAPE',
        op: 'evaluate',
      });
    }
    maps[source.name] = made;
  }
  return maps;
}

/** Writes the peaks of one photograph, the `i`-th of a batch of maps, as image `n` of the sets. */
export function takePeaks(
  sets: PeakSets,
  maps: Readonly<Record<string, Float32Array>>,
  { i, n, cells }: { i: number; n: number; cells: number },
): void {
  for (const [name, into] of Object.entries(sets)) {
    const { filters } = into;
    const one = maps[name]?.subarray(i * filters * cells, (i + 1) * filters * cells);
    peaksOf(one ?? new Float32Array(0), { images: 1, filters, cells }, { into, first: n });
  }
}

/**
 * The peaks of all sets on photographs that are read again, in their order, as `change` makes of their pixels
 * (images, C, H, W) and where `place` puts them. Throws `E_FILE` when one cannot be read, and the signal's
 * reason when it aborts.
 */
export async function peaksOfPhotographs(
  makers: MapMakers,
  images: readonly ImageFile[],
  options: {
    place?: ((file: ImageFile) => Placement) | undefined;
    change?: (pixels: Float32Array) => Float32Array;
    signal?: AbortSignal | undefined;
    onProgress?: (done: number) => void;
  },
): Promise<PeakSets> {
  const { explainer, sources } = makers;
  const { performer, cells } = explainer;
  const { place, change, signal, onProgress } = options;
  const { batch } = performer;
  const sets = emptySets(makers, images.length);
  const summary = emptySummary();
  const batches = readImages(images, performer.preprocessing, { batch, place, signal, summary });
  let done = 0;
  for await (const { images: loaded, pixels } of batches) {
    const count = loaded.length;
    const { layer } = await performer.features(change?.(pixels) ?? pixels, count);
    const own = { performer: layer, ...(await explainer.maps(layer, count)) };
    const maps = await mapsOfSets(sources, own, { count, cells });
    for (let i = 0; i < count; i++) takePeaks(sets, maps, { i, n: done + i, cells });
    onProgress?.((done += count));
  }
  const [skipped] = summary.skipped;
  if (skipped) throw new PartlensError('E_FILE', `${skipped.file}: ${skipped.reason}`);
  return sets;
}

/** The same with noise of a standard deviation in the pixels. The same seed gives the same noise. */
export function peaksWithNoise(
  makers: MapMakers,
  images: readonly ImageFile[],
  {
    deviation,
    ...options
  }: {
    deviation: number;
    signal?: AbortSignal | undefined;
    onProgress?: (done: number) => void;
  },
): Promise<PeakSets> {
  const random = new Random(makers.explainer.config.options.seed, 'evaluate/noise');
  const change = (pixels: Float32Array): Float32Array =>
    withNoise(pixels, { seed: random.uint32(), deviation });
  return peaksOfPhotographs(makers, images, { ...options, change });
}
