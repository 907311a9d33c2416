import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeTextAtomic } from '../data/atomic.js';
import { isSystemError, PartlensError } from '../errors.js';
import type { NetworkSpec } from './network_spec.js';
import { trainOptions } from './options.js';

const strings = z.array(z.string());
const size = z.int().min(1);
const poolSchema = z.object({
  kernel: z.tuple([size, size]),
  stride: z.tuple([size, size]),
  pad: z.tuple([z.int(), z.int(), z.int(), z.int()]),
  ceil: z.boolean(),
});

/**
 * Format of run folders: raised when the same folder would no longer go on to the same bits, never with the
 * version of the package alone. Format 1 came before the decoder `own`.
 */
export const RUN_FORMAT = 2;

/** `config.json` of a run folder: all that is needed to repeat, resume or evaluate it. */
export const runConfig = z.object({
  format: z.literal(RUN_FORMAT),
  /** Version of the package that began the run. */
  partlens: z.string(),
  performer: z.object({
    path: z.string(),
    fingerprint: z.string(),
    layer: z.string(),
    targets: strings,
    output: z.string().optional(),
    /** As given by flags; absent when the model's JSON file told. */
    preprocessing: z.unknown().optional(),
  }),
  images: z.object({
    folder: z.string(),
    /** Only these classes; absent: all. */
    classes: strings.optional(),
    /** Photographs, relative to the folder, of each side of the split. */
    train: strings,
    validation: strings,
  }),
  network: z.object({
    channels: size,
    height: size,
    width: size,
    filters: size,
    pool: poolSchema.optional(),
    site: z.object({ name: z.string(), channels: size, relu: z.boolean() }).optional(),
    targets: z.array(
      z.object({ name: z.string(), shape: z.array(size).min(1), size, relu: z.boolean() }),
    ),
    featureScale: z.number(),
    /** Classes that filters belong to, filter d to `classes[d % K]`; absent: no balance. */
    classes: z.array(z.int().min(0)).min(1).optional(),
  }),
  targetPower: z.array(z.number()),
  batch: size,
  steps: size,
  options: trainOptions,
  fingerprint: z.string(),
});

export type RunConfig = z.output<typeof runConfig>;

/** The network's sizes as `buildNetwork` takes them. */
export function networkSpec({ network }: RunConfig): NetworkSpec {
  return { ...network, pool: network.pool, site: network.site, classes: network.classes };
}

/** Reads and checks `config.json`. Throws `E_FILE` when the folder holds no run. */
export async function readRunConfig(run: string): Promise<RunConfig> {
  const path = join(run, 'config.json');
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    const { message } = cause as Error;
    const what = isSystemError(cause) ? `${run} holds no run: ${message}` : damaged(path, message);
    throw new PartlensError('E_FILE', what, { cause });
  }
  refuseOtherFormat(run, json);
  const parsed = runConfig.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const why = `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`;
  throw new PartlensError('E_FILE', damaged(path, why));
}

/** Throws `E_FILE` with `details.format` for a run of another format. */
function refuseOtherFormat(run: string, json: unknown): void {
  const { format, partlens } = (json ?? {}) as { format?: unknown; partlens?: unknown };
  if (typeof format !== 'number' || format === RUN_FORMAT) return;
  const by = typeof partlens === 'string' && /^[\w.+-]{1,40}$/.test(partlens) ? ` ${partlens}` : '';
  const older = format < RUN_FORMAT;
  throw new PartlensError(
    'E_FILE',
    `${run} was written by ${older ? 'an older' : 'a newer'} partlens${by}, in format ${String(format)} of run ` +
      `folders; this one reads format ${String(RUN_FORMAT)}.\n` +
      `Use that version, or train again in another folder.`,
    { details: { format } },
  );
}

function damaged(path: string, why: string): string {
  return `${path} is damaged: ${why}.\ntrain --resume with the options of the run writes it anew.`;
}

/** Writes `config.json` atomically. */
export async function writeRunConfig(run: string, config: RunConfig): Promise<void> {
  await writeTextAtomic(join(run, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
}
