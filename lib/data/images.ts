import { readFile, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { expected, PartlensError } from '../errors.js';
import {
  decodeImage,
  imageSize,
  UnusableImage,
  type DecodedImage,
  type DecodeOptions,
  type InputFormat,
} from './decode.js';
import { fileError } from './file_error.js';
import { FORMATS, type ImageFile, type SkippedFile } from './image_files.js';
import { mapOrdered } from './ordered.js';
import type { Placement } from './placement.js';

export type { DecodedImage, InputFormat } from './decode.js';
export {
  FORMATS,
  imageFiles,
  listImages,
  listNotices,
  type ImageFile,
  type ImageList,
  type SkippedFile,
} from './image_files.js';

/** What became of the images of a run. */
export interface ImageSummary {
  /** Images that were decoded. */
  used: number;
  skipped: SkippedFile[];
}

/** An image that was decoded. */
export interface LoadedImage extends ImageFile {
  /** Size of the upright image (EXIF orientation applied), pixels: the frame of its landmarks. */
  width: number;
  height: number;
}

export interface ImageBatch {
  images: LoadedImage[];
  /** (batch, channels, height, width), row-major; places behind the last image are 0. */
  pixels: Float32Array;
  /** The same images mirrored left to right, if asked for. */
  mirrored: Float32Array | undefined;
}

export interface ReadImagesOptions {
  /** Images of a batch, default 32. */
  batch?: number;
  /** Also give the mirrored images. */
  mirror?: boolean;
  /** The last batch keeps the full length, its rest 0, instead of being shorter. */
  pad?: boolean;
  /** Images decoded at a time, default the number of processors. */
  concurrency?: number;
  /** Images of more pixels are skipped, default 2^27. */
  maxPixels?: number;
  /** Where each image lies in the network's input, default everywhere. */
  place?: ((file: ImageFile) => Placement) | undefined;
  signal?: AbortSignal | undefined;
  /** Counts are added here. A run with none used so far must use one. */
  summary?: ImageSummary;
  /** Called for each image that is skipped. */
  onWarning?: (text: string) => void;
}

/** Larger files are no photographs. */
const MAX_FILE_BYTES = 2 ** 29;

/**
 * Decodes images into batches of network inputs, in the order of `files`. Decoding runs on threads
 * beside the main one, at most a batch ahead of the consumer. Images that cannot be used are skipped
 * with a warning that names them. Throws `E_FILE` when no image of all can be used, and the signal's
 * reason when it aborts.
 */
export async function* readImages(
  files: readonly ImageFile[],
  format: InputFormat,
  options: ReadImagesOptions = {},
): AsyncGenerator<ImageBatch, void, void> {
  const {
    batch = 32,
    mirror = false,
    concurrency = availableParallelism(),
    maxPixels,
    place,
    signal,
    summary = emptySummary(),
    onWarning = () => undefined,
  } = options;
  if (!Number.isInteger(batch) || batch < 1) throw expected('an integer >= 1', 'batch', batch);
  const decoding = { mirror, ...(maxPixels === undefined ? {} : { maxPixels }) };
  const decode = (file: ImageFile): Promise<Attempt> =>
    tryImage(file, format, { ...decoding, place: place?.(file) });
  let loaded: (LoadedImage & DecodedImage)[] = [];
  for await (const attempt of mapOrdered(files, decode, {
    concurrency,
    ahead: batch + concurrency,
    signal,
  })) {
    if (!('pixels' in attempt)) {
      summary.skipped.push(attempt);
      onWarning(`${attempt.file} is skipped: ${attempt.reason}`);
      continue;
    }
    summary.used++;
    loaded.push(attempt);
    if (loaded.length < batch) continue;
    yield joinBatch(loaded, batch, mirror);
    loaded = [];
  }
  if (loaded.length > 0) yield joinBatch(loaded, options.pad ? batch : loaded.length, mirror);
  requireUsable(summary);
}

/** Decodes one image file. Throws `E_FILE` when it cannot be used. */
export async function readImage(
  path: string,
  format: InputFormat,
  options: DecodeOptions = {},
): Promise<DecodedImage> {
  try {
    return await decodeImage(await readBytes(path), format, options);
  } catch (cause) {
    throw asFileError(path, cause);
  }
}

/** Size of an image file, upright, pixels, without decoding it. Throws `E_FILE`. */
export async function readImageSize(path: string): Promise<{ width: number; height: number }> {
  try {
    return await imageSize(await readBytes(path));
  } catch (cause) {
    throw asFileError(path, cause);
  }
}

export function emptySummary(): ImageSummary {
  return { used: 0, skipped: [] };
}

/** Throws `E_FILE` with the first reasons when no image was usable. */
export function requireUsable({ used, skipped }: ImageSummary): void {
  if (used > 0) return;
  const reasons = skipped.slice(0, 3).map(({ file, reason }) => `${file}: ${reason}`);
  const more = skipped.length > 3 ? [`and ${String(skipped.length - 3)} more`] : [];
  const message = `Expected at least one usable image (${FORMATS}) but received none.`;
  throw new PartlensError('E_FILE', [message, ...reasons, ...more].join('\n'), {
    details: { skipped },
  });
}

type Attempt = (LoadedImage & DecodedImage) | SkippedFile;

async function tryImage(
  file: ImageFile,
  format: InputFormat,
  options: DecodeOptions,
): Promise<Attempt> {
  try {
    return { ...file, ...(await decodeImage(await readBytes(file.file), format, options)) };
  } catch (error) {
    if (error instanceof UnusableImage) return { file: file.path, reason: error.message };
    if (error instanceof PartlensError) throw error;
    return { file: file.path, reason: fileError('read', file.path, error).message };
  }
}

async function readBytes(path: string): Promise<Uint8Array> {
  const info = await stat(path);
  if (!info.isFile()) throw new UnusableImage('no regular file');
  if (info.size > MAX_FILE_BYTES) throw new UnusableImage(`a file of ${String(info.size)} bytes`);
  return readFile(path);
}

function asFileError(path: string, cause: unknown): PartlensError {
  if (!(cause instanceof UnusableImage)) return fileError('read', path, cause);
  return new PartlensError('E_FILE', `${path} cannot be used: ${cause.message}.`, {
    details: { path },
    cause,
  });
}

function joinBatch(
  loaded: readonly (LoadedImage & DecodedImage)[],
  length: number,
  mirror: boolean,
): ImageBatch {
  const size = loaded[0]?.pixels.length ?? 0;
  const pixels = new Float32Array(length * size);
  const mirrored = mirror ? new Float32Array(length * size) : undefined;
  loaded.forEach((image, i) => {
    pixels.set(image.pixels, i * size);
    if (image.mirrored) mirrored?.set(image.mirrored, i * size);
  });
  const images = loaded.map(({ path, file, className, width, height }) => ({
    path,
    file,
    className,
    width,
    height,
  }));
  return { images, pixels, mirrored };
}
