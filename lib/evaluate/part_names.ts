import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeJsonAtomic } from '../data/atomic.js';
import { hasSystemCode } from '../data/file_error.js';
import type { ScoredSets } from './filter_scores.js';
import { PURITY } from './part_naming.js';

const share = z.number().min(0).max(1);

/** What both forms of the file have of the whole. */
const source = {
  /** Of the run (`config.json`) and of the checkpoint that was scored. */
  fingerprint: z.string(),
  step: z.int(),
  /** Absolute path of the CSV. */
  landmarks: z.string(),
  /** Photographs with landmarks. */
  images: z.int(),
};

/** What both have of a filter. */
const facts = {
  /** Category on which it is strongest and was scored; empty where landmarks have none. */
  category: z.string(),
  /** Location instability, fraction of the image diagonal. */
  instability: z.number(),
  /** Share of the photographs in which it fires, 0..1. */
  firing: share,
  /** The stronger filter that it repeats; null where it repeats none. */
  duplicateOf: z.int().nullable(),
};

/**
 * `parts.json` of a run folder: what the filters of conv_interp_2 are, as far as landmarks tell. Written
 * by `evaluate` when it is given landmarks, for one checkpoint; read by `explain` and `report`.
 */
export const partNames = z.object({
  format: z.literal(2),
  ...source,
  /** One entry for each filter; null for those that never fire. */
  filters: z.array(
    z
      .object({
        ...facts,
        /** Its name in each category in which photographs bear one out. */
        names: z.array(
          z.object({
            category: z.string(),
            part: z.string(),
            at: z.enum(['inside', 'near']),
            purity: share,
            photographs: z.int(),
          }),
        ),
      })
      .nullable(),
  ),
});

export type PartNames = z.output<typeof partNames>;

/** The first form: the most frequent landmark within 0.15 of the diagonal, on one category, never checked. */
const firstForm = z.object({
  format: z.literal(1),
  ...source,
  filters: z.array(z.object({ ...facts, part: z.string().nullable(), purity: share }).nullable()),
});

/** Names that were never checked are near their part, where they are pure. */
function fromFirstForm({ filters, ...rest }: z.output<typeof firstForm>): PartNames {
  return {
    ...rest,
    format: 2,
    filters: filters.map((filter) => {
      if (!filter) return null;
      const { part, purity, ...known } = filter;
      const { category } = known;
      const pure = part !== null && purity >= PURITY;
      const names = pure ? [{ category, part, at: 'near' as const, purity, photographs: 0 }] : [];
      return { ...known, names };
    }),
  };
}

/** Names and scores of filters from their peaks on photographs with landmarks. */
export function namesOf(
  { layer2, names, annotations }: Pick<ScoredSets, 'layer2' | 'names' | 'annotations'>,
  owner: Owner & Pick<PartNames, 'landmarks'>,
): PartNames {
  const { perFilter, firing, images, category } = layer2;
  const { duplicateOf } = layer2.parts;
  const filters = Array.from(perFilter, (instability, f) =>
    Number.isNaN(instability)
      ? null
      : {
          category: annotations.categories[category[f] ?? -1] ?? '',
          instability,
          firing: firing[f] ?? 0,
          duplicateOf: (duplicateOf[f] ?? -1) < 0 ? null : (duplicateOf[f] ?? null),
          names: names.layer2[f] ?? [],
        },
  );
  return { format: 2, ...owner, images, filters };
}

/** What identifies a checkpoint. */
type Owner = Pick<PartNames, 'fingerprint' | 'step'>;

/** Writes `parts.json` atomically. Throws `E_FILE`. */
export async function writePartNames(run: string, names: PartNames): Promise<void> {
  await writeJsonAtomic(join(run, 'parts.json'), names);
}

/**
 * Reads `parts.json`; undefined when there is none, and with a warning when it is damaged or tells of
 * another checkpoint.
 */
export async function readPartNames(
  run: string,
  { fingerprint, step }: Owner,
  onWarning: (text: string) => void = () => undefined,
): Promise<PartNames | undefined> {
  const path = join(run, 'parts.json');
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (!hasSystemCode(error, 'ENOENT')) onWarning(`${path} cannot be read: parts have no names.`);
    return undefined;
  }
  const old = firstForm.safeParse(json);
  const parsed = partNames.safeParse(old.success ? fromFirstForm(old.data) : json);
  if (!parsed.success) {
    onWarning(`${path} is damaged: parts have no names. Run evaluate --landmarks again.`);
    return undefined;
  }
  if (parsed.data.fingerprint === fingerprint && parsed.data.step === step) {
    if (old.success) {
      onWarning(`${path} is of an earlier version: run evaluate --landmarks again to check names.`);
    }
    return parsed.data;
  }
  onWarning(`${path} tells of another checkpoint: run evaluate --landmarks again to name parts.`);
  return undefined;
}
