import type { Encoding, TrainedExplainer } from '../explainer/trained.js';
import { readPartNames } from '../evaluate/part_names.js';
import type { MeasuredFilter } from '../evaluate/part_contributions.js';
import type { ActivePart, KnownPart } from './explanation.js';
import { placeOf, type Frame } from '../performer/place.js';

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

/** A measured part with its name, place and map. */
export function activePart(
  { cells }: TrainedExplainer,
  { masked }: Encoding,
  { cell, ...measured }: MeasuredFilter,
  facts: { frame: Frame; known: readonly (KnownPart | undefined)[]; group: number },
): ActivePart {
  const { frame, known, group } = facts;
  const { filter } = measured;
  const map = masked.slice(filter * cells, (filter + 1) * cells);
  return { ...measured, part: known[filter], place: placeOf(cell, frame), group, map };
}
