import { extname } from 'node:path';
import {
  emptySummary,
  imageFiles,
  readImages,
  type ImageFile,
  type SkippedFile,
} from '../data/images.js';
import { NpzWriter } from '../data/npz_writer.js';
import { SafetensorsWriter } from '../data/safetensors_writer.js';
import type { Shape } from '../engine/tensor.js';
import { expected, requireNames, requireText } from '../errors.js';
import { stoppable } from '../explainer/stop.js';
import type { RunnerInfo } from '../performer/index.js';
import { loadValues, type LoadValuesOptions, type ModelValues } from '../performer/values.js';
import { VERSION } from '../version.js';

export interface ExtractValuesOptions extends LoadValuesOptions {
  /** Photographs, or folders of them, which are sorted. */
  images: readonly string[];
  /** File to write, `.npz` or `.safetensors`; one that is there is replaced. */
  out: string;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  /** Images that are skipped. */
  onWarning?: ((text: string) => void) | undefined;
}

/** What `extractValues` wrote. */
export interface ExtractedValues {
  path: string;
  /** Photographs: rows of each value. */
  images: number;
  skipped: SkippedFile[];
  /** Shapes with the photographs' axis: maps (N, C, H, W), vectors (N, F). */
  values: { name: string; shape: number[] }[];
  session: RunnerInfo;
}

/** Name of the array of paths in an `.npz` file. */
const IMAGES = 'images';

/**
 * Writes any values of a CNN in an ONNX file for photographs: `docs/export.md` lists what the file holds.
 * Batches go to disk as they are computed, so that memory holds one; the file is seen when it is whole.
 * Photographs that cannot be used are skipped with a warning. Throws what loading throws, `E_ARGUMENT`,
 * `E_FILE`, and `E_STATE` when the signal stops it.
 */
export async function extractValues(
  path: string,
  options: ExtractValuesOptions,
): Promise<ExtractedValues> {
  const { images, out, signal } = options;
  requireNames(images, 'images', 'features');
  requireText(out, 'out', 'features');
  const open = WRITERS[extname(out).toLowerCase()];
  if (!open) throw expected('a name with .npz or .safetensors', 'out', out, { op: 'features' });
  const stop = { op: 'features', message: 'The extraction was stopped; nothing is written.' };
  return stoppable(signal, stop, async () => {
    const files = await imageFiles(images);
    if (files.length === 0) {
      throw expected('at least one photograph', 'images', 'none', { op: 'features' });
    }
    signal?.throwIfAborted();
    const model = await loadValues(path, options);
    try {
      return await fill(await open(out, model, files), model, files, options);
    } finally {
      model.dispose();
    }
  });
}

/** A file that grows by rows. */
interface RowsFile {
  append(name: string, data: Float32Array, first: number): Promise<void>;
  finish(paths: readonly string[]): Promise<void>;
  discard(): Promise<void>;
}

async function fill(
  writer: RowsFile,
  model: ModelValues,
  files: readonly ImageFile[],
  { out, signal, onProgress, onWarning }: ExtractValuesOptions,
): Promise<ExtractedValues> {
  const summary = emptySummary();
  const paths: string[] = [];
  try {
    const batches = readImages(files, model.preprocessing, {
      batch: model.batch,
      pad: true,
      summary,
      signal,
      ...(onWarning ? { onWarning } : {}),
    });
    for await (const { images, pixels } of batches) {
      const rows = await model.run(pixels, images.length);
      for (const [i, { name }] of model.values.entries()) {
        const data = rows[i];
        if (data) await writer.append(name, data, paths.length);
      }
      paths.push(...images.map((image) => image.path));
      onProgress?.(summary.used + summary.skipped.length, files.length);
    }
    signal?.throwIfAborted();
    await writer.finish(paths);
  } catch (error) {
    await writer.discard();
    throw error;
  }
  const values = model.values.map(({ name, shape }) => ({ name, shape: [paths.length, ...shape] }));
  return {
    path: out,
    images: paths.length,
    skipped: summary.skipped,
    values,
    session: model.info(),
  };
}

type Open = (path: string, model: ModelValues, files: readonly ImageFile[]) => Promise<RowsFile>;

const WRITERS: Readonly<Record<string, Open>> = {
  '.npz': openNpz,
  '.safetensors': openSafetensors,
};

async function openNpz(
  path: string,
  { values }: ModelValues,
  files: readonly ImageFile[],
): Promise<RowsFile> {
  if (values.some(({ name }) => name === IMAGES)) {
    throw expected('other names than "images", which are the paths,', 'values', IMAGES, {
      op: 'features',
      remedy: 'Write a .safetensors file.',
    });
  }
  const shapes = values.map(({ name, shape }): [string, Shape] => [name, shape]);
  const writer = await NpzWriter.create(path, Object.fromEntries(shapes), files.length);
  return {
    append: (name, data) => writer.append(name, data),
    finish: (paths) => writer.finish({ [IMAGES]: { shape: [paths.length], data: paths } }),
    discard: () => writer.discard(),
  };
}

async function openSafetensors(
  path: string,
  { values, fingerprint, preprocessing }: ModelValues,
  files: readonly ImageFile[],
): Promise<RowsFile> {
  const metadata = (paths: readonly string[]): Record<string, string> => ({
    partlens: VERSION,
    performer: fingerprint,
    preprocessing: JSON.stringify(preprocessing),
    images: JSON.stringify(paths),
  });
  const shapes = values.map(({ name, shape }) => {
    return [name, { dtype: 'F32' as const, shape: [files.length, ...shape] }] as const;
  });
  const all = metadata(files.map((file) => file.path));
  const writer = await SafetensorsWriter.create(path, Object.fromEntries(shapes), all);
  return {
    append: (name, data, first) => writer.write(name, first, data),
    finish: (paths) => writer.finish(paths.length, metadata(paths)),
    discard: () => writer.discard(),
  };
}
