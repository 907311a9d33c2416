import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { loadSharp } from '../data/decode.js';
import { fileError } from '../data/file_error.js';
import type { ImageFile } from '../data/images.js';
import { mapOrdered } from '../data/ordered.js';

/** Bytes that all pictures of a report take at most, before base64 (4 for 3). */
export const PICTURE_BYTES = 9 * 2 ** 20;
/** Photographs of a report: the smallest pictures of so many fit. */
export const MAX_PICTURES = 8000;

/** Side (pixels) and quality, best first. A picture takes about side^2 * 0.15 bytes at quality 60. */
const SIZES = [
  { side: 224, quality: 75 },
  { side: 160, quality: 68 },
  { side: 128, quality: 60 },
  { side: 96, quality: 55 },
  { side: 72, quality: 45 },
  { side: 48, quality: 35 },
] as const;

/**
 * Small copies of photographs, stretched to a square as the network sees them: WebP in base64, in the
 * order of `files`, in the largest size in which all together stay within `bytes`. Throws `E_FILE` when
 * one cannot be read, and the signal's reason when it aborts.
 */
export async function shrinkPictures(
  files: readonly ImageFile[],
  { bytes = PICTURE_BYTES, signal }: { bytes?: number; signal?: AbortSignal | undefined } = {},
): Promise<string[]> {
  const sample = files.filter((_, n) => n % Math.ceil(files.length / 32) === 0);
  for (const size of SIZES) {
    const last = size === SIZES.at(-1);
    const tried = await shrinkAll(sample, size, signal);
    if (!last && (total(tried) / sample.length) * files.length > bytes) continue;
    const all = await shrinkAll(files, size, signal);
    if (last || total(all) <= bytes) return all.map((webp) => webp.toString('base64'));
  }
  return [];
}

/** A photograph as a small square WebP. Throws `E_FILE`. */
export async function shrinkPicture(
  { path, file }: Pick<ImageFile, 'path' | 'file'>,
  { side, quality }: { side: number; quality: number },
): Promise<Buffer> {
  const sharp = await loadSharp();
  try {
    return await sharp(await readFile(file), { autoOrient: true, failOn: 'none' })
      .flatten({ background: '#fff' })
      .resize(side, side, { fit: 'fill' })
      .toColourspace('srgb')
      .webp({ quality, effort: 4 })
      .toBuffer();
  } catch (cause) {
    throw fileError('read', path, cause);
  }
}

async function shrinkAll(
  files: readonly ImageFile[],
  size: { side: number; quality: number },
  signal: AbortSignal | undefined,
): Promise<Buffer[]> {
  const concurrency = availableParallelism();
  const results: Buffer[] = [];
  const work = (file: ImageFile): Promise<Buffer> => shrinkPicture(file, size);
  for await (const webp of mapOrdered(files, work, { concurrency, ahead: 64, signal })) {
    results.push(webp);
  }
  return results;
}

function total(buffers: readonly Buffer[]): number {
  return buffers.reduce((sum, { length }) => sum + length, 0);
}
