import type { TrainedExplainer } from '../explainer/trained.js';
import { Random } from '../random.js';
import type { MapSource } from './map_source.js';

/** Names of the sets that every run has. */
export const OWN_SETS = ['performer', 'layer1', 'layer2'] as const;

/** Maps of one set of filters, (images, filters, n, m). */
export interface SetMaps {
  name: string;
  filters: number;
  maps: Float32Array;
}

/** Sets by name and number of filters: the performer's, both interpretable layers', and more. */
export function setsOf(
  { config: { network } }: TrainedExplainer,
  sources: readonly MapSource[],
): { name: string; filters: number }[] {
  const { channels, filters } = network;
  const own = OWN_SETS.map((name) => ({
    name,
    filters: name === 'performer' ? channels : filters,
  }));
  return [...own, ...sources.map(({ name, filters: count }) => ({ name, filters: count }))];
}

/** All sets of maps, in the order of `setsOf`, from the performer's maps (count, C, n, m). */
export async function mapsOfSets(
  explainer: TrainedExplainer,
  sources: readonly MapSource[],
  { features, count }: { features: Float32Array; count: number },
): Promise<SetMaps[]> {
  const { layer1, layer2 } = await explainer.maps(features, count);
  const all = [features, layer1, layer2];
  for (const source of sources) all.push(await source.maps(features, count));
  return setsOf(explainer, sources).map((set, i) => ({
    ...set,
    maps: all[i] ?? new Float32Array(0),
  }));
}

/** At most `most` of some items, drawn by the seed, in their order. */
export function sampleOf<T>(items: readonly T[], most: number, random: Random): T[] {
  if (items.length <= most) return [...items];
  const chosen = random.permutation(items.length).subarray(0, most).sort();
  return Array.from(chosen, (i) => items[i] as T);
}
