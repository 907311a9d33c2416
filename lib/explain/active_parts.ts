import type { Encoding, TrainedExplainer } from '../explainer/trained.js';
import { readPartNames } from '../evaluate/part_names.js';
import { peaksOf } from '../evaluate/metrics/index.js';
import type { ActivePart, KnownPart } from './explanation.js';
import { placeOf, type Frame } from '../performer/place.js';

/** A part whose contribution is not measured yet. */
export type FoundPart = Omit<ActivePart, 'contribution'>;

/** What `evaluate` found out about the filters, by filter; empty without it. */
export async function knownParts(
  { run, config, step }: TrainedExplainer,
  onWarning: (text: string) => void,
): Promise<(KnownPart | undefined)[]> {
  const known = await readPartNames(run, { fingerprint: config.fingerprint, step }, onWarning);
  return (known?.filters ?? []).map((filter) =>
    filter?.part
      ? { name: filter.part, category: filter.category, purity: filter.purity }
      : undefined,
  );
}

/**
 * The filters of conv_interp_2 that fire in an image, with place and strength. The norm layer brings a
 * filter's sum to sqrt(positions) for the mean training image: the strength is in these units.
 */
export function activeParts(
  { config, cells, encodingSize }: TrainedExplainer,
  { layer2, masked, interp }: Encoding,
  frame: Frame,
  known: readonly (KnownPart | undefined)[],
): FoundPart[] {
  const { filters } = config.network;
  const positions = encodingSize / filters;
  const peaks = peaksOf(layer2, { images: 1, filters, cells });
  const part = (filter: number): FoundPart => {
    const sum = interp
      .subarray(filter * positions, (filter + 1) * positions)
      .reduce((total, value) => total + value, 0);
    return {
      filter,
      part: known[filter],
      place: placeOf(peaks.cell[filter] ?? 0, frame),
      activation: peaks.value[filter] ?? 0,
      strength: sum / Math.sqrt(positions),
      map: masked.slice(filter * cells, (filter + 1) * cells),
    };
  };
  return Array.from({ length: filters }, (_, filter) => part(filter)).filter(
    ({ activation }) => activation > 0,
  );
}
