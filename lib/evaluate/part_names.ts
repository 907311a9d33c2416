import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeJsonAtomic } from '../data/atomic.js';
import { hasSystemCode } from '../data/file_error.js';
import type { Annotations } from '../data/landmarks.js';
import { mainPart, type FilterScores } from './filter_scores.js';

const share = z.number().min(0).max(1);

/**
 * `parts.json` of a run folder: what the filters of conv_interp_2 are, as far as landmarks tell. Written
 * by `evaluate` when it is given landmarks, for one checkpoint; read by `explain` and `report`.
 */
export const partNames = z.object({
  format: z.literal(1),
  /** Of the run (`config.json`) and of the checkpoint that was scored. */
  fingerprint: z.string(),
  step: z.int(),
  /** Absolute path of the CSV. */
  landmarks: z.string(),
  /** Photographs with landmarks. */
  images: z.int(),
  /** One entry for each filter; null for those that never fire. */
  filters: z.array(
    z
      .object({
        /** Most frequent landmark at the filter's peaks; null where none is near. */
        part: z.string().nullable(),
        /** Category on which it is strongest and was scored; empty where landmarks have none. */
        category: z.string(),
        /** Share of its top images whose peak is at that landmark, 0..1. */
        purity: share,
        /** Location instability, fraction of the image diagonal. */
        instability: z.number(),
        /** Share of the photographs in which it fires, 0..1. */
        firing: share,
        /** The stronger filter that it repeats; null where it repeats none. */
        duplicateOf: z.int().nullable(),
      })
      .nullable(),
  ),
});

export type PartNames = z.output<typeof partNames>;

/** Names and scores of filters from their peaks on photographs with landmarks. */
export function namesOf(
  scores: FilterScores,
  annotations: Annotations,
  source: Owner & Pick<PartNames, 'landmarks'>,
): PartNames {
  const { perFilter, firing, images, category } = scores;
  const { perFilter: purity, duplicateOf } = scores.parts;
  const filters = Array.from(perFilter, (instability, f) =>
    Number.isNaN(instability)
      ? null
      : {
          part: mainPart(scores, annotations, f)?.name ?? null,
          category: annotations.categories[category[f] ?? -1] ?? '',
          purity: purity[f] ?? 0,
          instability,
          firing: firing[f] ?? 0,
          duplicateOf: (duplicateOf[f] ?? -1) < 0 ? null : (duplicateOf[f] ?? null),
        },
  );
  return { format: 1, ...source, images, filters };
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
  const parsed = partNames.safeParse(json);
  if (!parsed.success) {
    onWarning(`${path} is damaged: parts have no names. Run evaluate --landmarks again.`);
    return undefined;
  }
  if (parsed.data.fingerprint === fingerprint && parsed.data.step === step) return parsed.data;
  onWarning(`${path} tells of another checkpoint: run evaluate --landmarks again to name parts.`);
  return undefined;
}
