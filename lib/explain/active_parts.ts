import { basename, dirname } from 'node:path';
import type { Encoding, TrainedExplainer } from '../explainer/trained.js';
import { readPartNames } from '../evaluate/part_names.js';
import { labelOfName } from '../evaluate/part_naming.js';
import type { MeasuredFilter } from '../evaluate/part_contributions.js';
import type { ActivePart, KnownPart } from './explanation.js';
import { placeOf, type Frame } from '../performer/place.js';

/** Names of the filters in photographs of one category, by filter. */
export interface KnownParts {
  /** Undefined where landmarks have none for this photograph. */
  category: string | undefined;
  parts: readonly (KnownPart | undefined)[];
}

/** What a photograph may be: as it is told, as its folder is called, as the performer says. */
export interface PhotographFacts {
  category: string | undefined;
  path: string | undefined;
  prediction: string;
}

/** What `evaluate` found out about the filters in photographs such as this; no names without it. */
export async function knownParts(
  { run, config, step }: TrainedExplainer,
  { category: told, path, prediction }: PhotographFacts,
  onWarning: (text: string) => void,
): Promise<KnownParts> {
  const known = await readPartNames(run, { fingerprint: config.fingerprint, step }, onWarning);
  const filters = known?.filters ?? [];
  const categories = new Set(filters.flatMap((of) => of?.names.map((one) => one.category) ?? []));
  const folder = path === undefined ? undefined : basename(dirname(path));
  const category = [told ?? folder, told ?? prediction, ''].find(
    (name) => name !== undefined && categories.has(name),
  );
  const parts = filters.map((filter) => {
    const name = filter?.names.find((one) => one.category === category);
    if (!name) return undefined;
    const { part, ...rest } = name;
    return { ...rest, name: part, label: labelOfName(name) };
  });
  return { category, parts };
}

/** A measured part with its name, place and map. */
export function activePart(
  { cells }: TrainedExplainer,
  { masked }: Encoding,
  { cell, ...measured }: MeasuredFilter,
  facts: { frame: Frame; known: KnownParts['parts']; region: number },
): ActivePart {
  const { frame, known, region } = facts;
  const { filter } = measured;
  const map = masked.slice(filter * cells, (filter + 1) * cells);
  return { ...measured, part: known[filter], place: placeOf(cell, frame), region, map };
}
