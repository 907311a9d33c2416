import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import type { z } from 'zod';
import { expected } from '../../errors.js';
import { fileError } from '../file_error.js';
import { cocoKeypoints, cocoLandmarks } from './coco.js';
import { parseCsvLandmarks } from './csv.js';
import { CUB_FILES, cubLandmarks, type CubTexts } from './cub.js';
import { parseCvatLandmarks } from './cvat.js';
import { labelmeFile, labelmeLandmarks } from './labelme.js';
import { badLandmark, type LandmarkRows } from './row.js';

const OP = 'landmarks';

/** What a landmark file or folder holds, with the folder that its images are relative to. */
export interface LandmarkFile extends LandmarkRows {
  folder: string;
}

/**
 * Reads landmarks: CSV; COCO keypoints (.json); Labelme (one .json, or a folder of them); CVAT for images (.xml);
 * a CUB-200-2011 folder, or its `parts/part_locs.txt`. What a file is follows from its name and its first element.
 * Throws `E_FILE` with the place and the reason for what cannot be read.
 */
export async function readLandmarkFile(path: string): Promise<LandmarkFile> {
  try {
    if ((await stat(path)).isDirectory()) return await readFolder(path);
    if (basename(path) === 'part_locs.txt') return await readCub(dirname(dirname(resolve(path))));
    const folder = dirname(resolve(path));
    const extension = extname(path).toLowerCase();
    if (extension === '.mat') throw noMatlab(path);
    const text = await readFile(path, 'utf8');
    if (extension === '.json') return { folder, ...readJson(text, path) };
    if (extension === '.xml') return { folder, ...parseCvatLandmarks(text, path) };
    return { folder, ...parseCsvLandmarks(text, path) };
  } catch (cause) {
    throw fileError('read', path, cause);
  }
}

function noMatlab(path: string): Error {
  const what = 'CSV, COCO, Labelme, CVAT or CUB landmarks';
  const remedy =
    'MATLAB files, such as those of Pascal-Part, are not read: write them as CSV first (docs/landmarks.md).';
  return expected(what, path, 'a MATLAB file', { code: 'E_FILE', op: OP, remedy });
}

async function readFolder(folder: string): Promise<LandmarkFile> {
  const names = await readdir(folder);
  if (names.includes('images.txt') && names.includes('parts')) return readCub(folder);
  const files = await readdir(folder, { recursive: true });
  const labelme = files.filter((name) => /\.json$/i.test(name)).sort();
  if (labelme.length === 0) {
    const what = 'a folder of Labelme files (.json), or that of CUB-200-2011,';
    throw expected(what, 'landmarks', folder, { code: 'E_FILE', op: OP });
  }
  const all: LandmarkFile = { folder: resolve(folder), rows: [], unmarked: 0 };
  for (const name of labelme) {
    const path = join(folder, name);
    const json = parseJson(await readFile(path, 'utf8'), path);
    all.rows.push(...labelmeLandmarks(check(labelmeFile, json, path), resolve(path)));
  }
  return all;
}

async function readCub(folder: string): Promise<LandmarkFile> {
  const texts = await Promise.all(
    CUB_FILES.map(async (name) => [name, await readFile(join(folder, name), 'utf8')] as const),
  );
  return {
    folder: resolve(folder),
    ...cubLandmarks(Object.fromEntries(texts) as CubTexts, folder),
  };
}

/** COCO keypoints, or one Labelme file. */
function readJson(text: string, path: string): LandmarkRows {
  const json = parseJson(text, path);
  if (typeof json === 'object' && json !== null && 'shapes' in json) {
    return { rows: labelmeLandmarks(check(labelmeFile, json, path), resolve(path)), unmarked: 0 };
  }
  return cocoLandmarks(check(cocoKeypoints, json, path), path);
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''));
  } catch (cause) {
    throw badLandmark(path, 'as JSON', 'Expected a well-formed text', (cause as Error).message);
  }
}

function check<T>(schema: z.ZodType<T>, json: unknown, path: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const at = issue?.path.join('.') ?? '';
  const what = `Expected ${'shapes' in Object(json) ? 'a Labelme file' : 'COCO keypoints'}`;
  throw badLandmark(path, at === '' ? 'at the top' : at, what, issue?.message ?? 'other JSON');
}
