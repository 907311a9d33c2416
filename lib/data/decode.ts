import type { Sharp, SharpOptions } from 'sharp';
import { PartlensError } from '../errors.js';
import { secondLook } from './second_look.js';

/**
 * How an image becomes the network's input: stretched to a square of size * supersample pixels, averaged
 * over supersample x supersample blocks (rounded to a byte), then (byte * scale - mean) / std.
 */
export interface InputFormat {
  /** Side of the network's input, pixels. */
  size: number;
  /** 1: no averaging. */
  supersample: number;
  /** Order of the network's channels. */
  channels: 'RGB' | 'BGR';
  scale: number;
  /** In the order of `channels`. */
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
}

/** An image as the network's input. */
export interface DecodedImage {
  /** (3, size, size), row-major. */
  pixels: Float32Array;
  /** The same for the image mirrored left to right. */
  mirrored: Float32Array | undefined;
  /** Size of the upright image before resizing, pixels. */
  width: number;
  height: number;
}

/** An image that cannot be used; the message is the reason. */
export class UnusableImage extends Error {}

/** Larger images would take 400 MB and more to decode. */
export const MAX_PIXELS = 2 ** 27;
/** A warning of the JPEG decoder that harms no pixel. */
const HARMLESS = 'extraneous bytes before marker';

/**
 * Decodes JPEG, PNG or WebP bytes (by content) outside the main thread. EXIF orientation is applied;
 * grey, palette, CMYK and 16-bit pixels become 8-bit RGB, embedded colour profiles are not applied,
 * transparency is laid on white, of an animation the first frame is taken. An image of exactly
 * size * supersample pixels is not resampled; others are with an antialiasing bilinear kernel. Throws
 * `UnusableImage`.
 */
export async function decodeImage(
  bytes: Uint8Array,
  format: InputFormat,
  { mirror = false, maxPixels = MAX_PIXELS }: { mirror?: boolean; maxPixels?: number } = {},
): Promise<DecodedImage> {
  const { width, height } = await imageSize(bytes, maxPixels);
  const side = format.size * format.supersample;
  const image = await rawPixels(bytes, {
    side,
    resize: width !== side || height !== side,
    maxPixels,
  });
  const averaged = averageBlocks(image, format.size, format.supersample);
  return {
    pixels: normalise(averaged, format, false),
    mirrored: mirror ? normalise(averaged, format, true) : undefined,
    width,
    height,
  };
}

/** Size of the upright image, pixels, from its header. Throws `UnusableImage`. */
export async function imageSize(
  bytes: Uint8Array,
  maxPixels = MAX_PIXELS,
): Promise<{ width: number; height: number }> {
  if (bytes.length === 0) throw new UnusableImage('empty file');
  if (!isSupported(bytes)) throw new UnusableImage('no JPEG, PNG or WebP image');
  const sharp = await loadSharp();
  const options = { failOn: 'none', limitInputPixels: false } as const;
  const { autoOrient } = await unusable(() => sharp(bytes, options).metadata());
  const { width, height } = autoOrient;
  const shown = `${String(width)} x ${String(height)} pixels`;
  if (Math.min(width, height) < 2) throw new UnusableImage(`too small, ${shown}`);
  if (width * height > maxPixels) throw new UnusableImage(`too large, ${shown}`);
  return { width, height };
}

/** JPEG, PNG or WebP by the first bytes. */
function isSupported(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 12)).toString(
    'latin1',
  );
  const webp = head.startsWith('RIFF') && head.slice(8) === 'WEBP';
  return head.startsWith('\xff\xd8\xff') || head.startsWith('\x89PNG\r\n\x1a\n') || webp;
}

interface RawOptions {
  side: number;
  resize: boolean;
  maxPixels: number;
}

/** RGB bytes of the stretched image, row by row. */
async function rawPixels(
  bytes: Uint8Array,
  { side, resize, maxPixels }: RawOptions,
): Promise<Uint8Array> {
  const sharp = await loadSharp();
  const decode = (
    failOn: 'warning' | 'error',
  ): Promise<{ data: Buffer; info: { channels: number } }> => {
    const options: SharpOptions = {
      failOn,
      limitInputPixels: maxPixels,
      ignoreIcc: true,
      autoOrient: true,
      animated: false,
    };
    let image: Sharp = sharp(bytes, options).flatten({ background: '#fff' });
    if (resize) {
      image = image.resize(side, side, { fit: 'fill', kernel: 'linear', fastShrinkOnLoad: false });
    }
    return image
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
  };
  const { data, info } = await unusable(
    () => decode('warning'),
    () =>
      decode('warning').catch((error: unknown) => {
        const lines = (error as Error).message.trim().split('\n');
        if (!lines.every((line) => line.includes(HARMLESS))) throw error;
        return decode('error');
      }),
  );
  if (info.channels !== 3 || data.length !== side * side * 3) {
    throw new UnusableImage(`${String(info.channels)} channels`);
  }
  return data;
}

/** Mean of blocks x blocks pixels, rounded half up: (sum + count / 2) / count. */
function averageBlocks(pixels: Uint8Array, size: number, block: number): Uint8Array {
  if (block === 1) return pixels;
  const result = new Uint8Array(size * size * 3);
  const count = block * block;
  const half = count >> 1;
  const stride = size * block * 3;
  for (let y = 0, at = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      for (let c = 0; c < 3; c++) {
        let sum = half;
        for (let i = 0; i < block; i++) {
          const row = (y * block + i) * stride + x * block * 3 + c;
          for (let j = 0; j < block; j++) sum += pixels[row + j * 3] ?? 0;
        }
        result[at++] = Math.floor(sum / count);
      }
    }
  }
  return result;
}

/** RGB bytes (size, size, 3) -> (3, size, size) in the network's units and channel order. */
function normalise(pixels: Uint8Array, format: InputFormat, mirror: boolean): Float32Array {
  const { size, channels, scale, mean, std } = format;
  const result = new Float32Array(3 * size * size);
  for (let c = 0; c < 3; c++) {
    const table = Float32Array.from(
      { length: 256 },
      (_, byte) => (byte * scale - (mean[c] ?? 0)) / (std[c] ?? 1),
    );
    const source = channels === 'RGB' ? c : 2 - c;
    for (let y = 0; y < size; y++) {
      const row = (c * size + y) * size;
      for (let x = 0; x < size; x++) {
        const from = mirror ? size - 1 - x : x;
        result[row + x] = table[pixels[(y * size + from) * 3 + source] ?? 0] ?? 0;
      }
    }
  }
  return result;
}

/** Turns the decoder's errors into `UnusableImage`, with the first line as the reason. */
async function unusable<T>(work: () => Promise<T>, again = work): Promise<T> {
  try {
    return await secondLook(work, again);
  } catch (cause) {
    const [line = ''] = (cause as Error).message.trim().split('\n');
    throw new UnusableImage(`damaged image (${line})`, { cause });
  }
}

let loading: Promise<typeof import('sharp').default> | undefined;

/** Loads sharp when the first image needs it: commands without images start faster. */
export function loadSharp(): Promise<typeof import('sharp').default> {
  loading ??= import('sharp').then(
    (module) => module.default,
    (cause: unknown) => {
      loading = undefined;
      const text =
        'The image decoder sharp cannot be loaded.\nRun npm install again on this machine.';
      throw new PartlensError('E_STATE', text, { cause });
    },
  );
  return loading;
}
