import { createHash } from 'node:crypto';
import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { writeTextAtomic } from './atomic.js';
import { fileError } from './file_error.js';
import type { ImageFile } from './image_files.js';
import { mapOrdered } from './ordered.js';

/** SHA-256 (hex) of a JSON value; the order of the keys of an object does not matter. */
export function fingerprint(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex');
}

/** Hashes by path and state of the file: `"/photos/a.jpg": ["<size>-<mtime>-<ctime>-<inode>", hash]`. */
const hashCache = z.record(z.string(), z.tuple([z.string(), z.string()]));

/**
 * SHA-256 (hex) of the paths and contents of images, in their order. `cache`: a JSON file that remembers
 * the hashes of files whose size, times and inode have not changed since, so that a second run does
 * not read them again; its folder is made. Throws `E_FILE` for a file that cannot be read.
 */
export async function fingerprintImages(
  images: readonly ImageFile[],
  { cache, signal }: { cache?: string; signal?: AbortSignal | undefined } = {},
): Promise<string> {
  const known = cache === undefined ? {} : await readCache(cache);
  const fresh: Record<string, [string, string]> = {};
  const hash = createHash('sha256');
  const work = async (
    image: ImageFile,
  ): Promise<{ image: ImageFile; entry: [string, string] }> => ({
    image,
    entry: await hashFile(image.file, known[image.file]),
  });
  const results = mapOrdered(images, work, { concurrency: 4, ahead: 64, signal });
  for await (const { image, entry } of results) {
    fresh[image.file] = entry;
    hash.update(`${JSON.stringify(image.path)} ${entry[1]}\n`);
  }
  if (cache !== undefined && JSON.stringify(fresh) !== JSON.stringify(known)) {
    await mkdir(dirname(cache), { recursive: true }).catch((cause: unknown) => {
      throw fileError('write', cache, cause);
    });
    await writeTextAtomic(cache, `${JSON.stringify(fresh)}\n`);
  }
  return hash.digest('hex');
}

async function hashFile(path: string, known?: [string, string]): Promise<[string, string]> {
  try {
    const handle = await open(path, 'r');
    try {
      const { size, mtimeNs, ctimeNs, ino } = await handle.stat({ bigint: true });
      const state = [size, mtimeNs, ctimeNs, ino].join('-');
      if (known?.[0] === state) return known;
      const hash = createHash('sha256');
      const buffer = new Uint8Array(Math.max(1, Math.min(Number(size), 2 ** 20)));
      for (;;) {
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
        if (bytesRead === 0) return [state, hash.digest('hex')];
        hash.update(buffer.subarray(0, bytesRead));
      }
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw fileError('read', path, cause);
  }
}

/** A cache that is missing or damaged is an empty one. */
async function readCache(path: string): Promise<Record<string, [string, string]>> {
  try {
    return hashCache.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return {};
  }
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
