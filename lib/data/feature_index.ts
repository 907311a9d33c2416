import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { PartlensError } from '../errors.js';
import { writeTextAtomic } from './atomic.js';
import { fileError, hasSystemCode } from './file_error.js';

const size = z.int().min(1);

const featureRow = z.strictObject({
  image: z.string(),
  mirrored: z.boolean(),
  className: z.string(),
  width: size,
  height: size,
});

const featureIndex = z.strictObject({
  format: z.literal(1),
  fingerprint: z.string(),
  /** False while the extraction has not seen all images. */
  complete: z.boolean(),
  dtype: z.enum(['float32', 'float16']),
  /** Shape of each tensor for one image. */
  tensors: z.record(z.string(), z.array(size)),
  shards: z.array(z.strictObject({ file: z.string().regex(/^[\w.-]+$/), rows: size })),
  rows: z.array(featureRow),
});

/** One row of the store: the features of one image, or of its mirrored copy. */
export interface FeatureRow {
  /** Path relative to the folder of images. */
  image: string;
  mirrored: boolean;
  className: string;
  /** Size of the upright image, pixels. */
  width: number;
  height: number;
}

/** `index.json` of a feature store. */
export type FeatureIndex = z.output<typeof featureIndex>;

/** Reads `index.json`; undefined when there is none. Throws `E_FILE` when it is damaged. */
export async function readFeatureIndex(folder: string): Promise<FeatureIndex | undefined> {
  const path = join(folder, 'index.json');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (hasSystemCode(cause, 'ENOENT', 'ENOTDIR')) return undefined;
    throw fileError('read', path, cause);
  }
  const index = parse(text);
  const rows = index?.shards.reduce((sum, shard) => sum + shard.rows, 0);
  if (index && rows === index.rows.length) return index;
  throw new PartlensError(
    'E_FILE',
    `${path} is damaged.\nRemove the folder to extract the features again.`,
    { details: { path } },
  );
}

/** Writes `index.json` atomically, one row a line. */
export async function writeFeatureIndex(folder: string, index: FeatureIndex): Promise<void> {
  const { rows, ...head } = index;
  const start = JSON.stringify(head, null, 1).slice(0, -2);
  const lines = rows.map((row) => `  ${JSON.stringify(row)}`).join(',\n');
  await writeTextAtomic(join(folder, 'index.json'), `${start},\n "rows": [\n${lines}\n ]\n}\n`);
}

function parse(text: string): FeatureIndex | undefined {
  try {
    return featureIndex.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
