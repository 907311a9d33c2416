import type { Sharp, SharpOptions } from 'sharp';
import { PartlensError } from '../errors.js';
import { channelCount, type Channels } from './image_channels.js';
import { sidesOf, type ImageSize } from './image_size.js';
import { placedPixels, type Placement } from './placement.js';
import { FORMATS } from './image_files.js';
import { secondLook } from './second_look.js';

/** How an image becomes the network's input. */
export interface InputFormat {
  /** Of the network's input, pixels: the side of a square, or [height, width]. */
  size: ImageSize;
  /**
   * The image is first stretched to supersample times that size, then blocks of supersample x
   * supersample pixels are averaged and rounded to a byte. 1: no averaging.
   */
  supersample: number;
  /**
   * The network's channels. `grey` is Rec. 601 luma of the averaged bytes, rounded to a byte:
   * 0.299 R + 0.587 G + 0.114 B. `RGBA` takes the alpha channel, 255 where the image has none; the
   * others lay what is transparent on white.
   */
  channels: Channels;
  /** input = (byte * scale - mean) / std; 1 / 255 brings bytes to 0..1. */
  scale: number;
  /** One for each channel, after `scale`. */
  mean: readonly number[];
  /** One for each channel, after `scale`; not 0. */
  std: readonly number[];
}

/** An image as the network's input. */
export interface DecodedImage {
  /** (channels, height, width), row-major. */
  pixels: Float32Array;
  /** The same for the image mirrored left to right. */
  mirrored: Float32Array | undefined;
  /** Size of the upright image before resizing, pixels. */
  width: number;
  height: number;
}

export interface DecodeOptions {
  /** Also give the mirrored image. */
  mirror?: boolean;
  /** Images of more pixels are not decoded, default 2^27. */
  maxPixels?: number;
  /** Where the image lies in the network's input, default everywhere. */
  place?: Placement | undefined;
}

/** An image that cannot be used; the message is the reason. */
export class UnusableImage extends Error {}

/** Larger images would take 400 MB and more to decode. */
export const MAX_PIXELS = 2 ** 27;
/** A warning of the JPEG decoder that harms no pixel. */
const HARMLESS = 'extraneous bytes before marker';

/**
 * Decodes JPEG, PNG, WebP, TIFF, AVIF or GIF bytes (by content) outside the main thread. EXIF orientation is applied;
 * grey, palette, CMYK and 16-bit pixels become 8-bit RGB; embedded colour profiles are applied to CMYK alone;
 * transparency is laid on white but for `RGBA`, of an animation the first frame is taken. An image of
 * exactly size * supersample pixels is not resampled; others are with an antialiasing bilinear kernel
 * (colours weighed by alpha). With `place` the image is stretched to that part of the network's input alone,
 * and its edges are repeated around it. Throws `UnusableImage`, and `E_ARGUMENT` for a wrong placement.
 */
export async function decodeImage(
  bytes: Uint8Array,
  format: InputFormat,
  { mirror = false, maxPixels = MAX_PIXELS, place }: DecodeOptions = {},
): Promise<DecodedImage> {
  const { width, height, cmyk } = await header(bytes, maxPixels);
  const [rows, columns] = sidesOf(format.size);
  const whole = { top: 0, left: 0, height: rows, width: columns };
  const depth = format.channels === 'RGBA' ? 4 : 3;
  const placed = placedPixels(format, place ?? whole);
  const image = await rawPixels(bytes, {
    placed,
    depth,
    resize: width !== placed.width || height !== placed.height,
    maxPixels,
    cmyk,
  });
  const averaged = averageBlocks(image, { rows, columns, depth, block: format.supersample });
  const planes = format.channels === 'grey' ? luma(averaged) : averaged;
  return {
    pixels: normalise(planes, format, false),
    mirrored: mirror ? normalise(planes, format, true) : undefined,
    width,
    height,
  };
}

/** Size of the upright image, pixels, from its header. Throws `UnusableImage`. */
export async function imageSize(
  bytes: Uint8Array,
  maxPixels = MAX_PIXELS,
): Promise<{ width: number; height: number }> {
  const { width, height } = await header(bytes, maxPixels);
  return { width, height };
}

async function header(
  bytes: Uint8Array,
  maxPixels: number,
): Promise<{ width: number; height: number; cmyk: boolean }> {
  if (bytes.length === 0) throw new UnusableImage('empty file');
  const format = formatOf(bytes);
  if (!READ.has(format)) throw new UnusableImage(`${format}; ${FORMATS} are read`);
  const sharp = await loadSharp();
  const options = { failOn: 'none', limitInputPixels: false } as const;
  const { autoOrient, space } = await unusable(() => sharp(bytes, options).metadata());
  const { width, height } = autoOrient;
  const shown = `${String(width)} x ${String(height)} pixels`;
  if (Math.min(width, height) < 2) throw new UnusableImage(`too small, ${shown}`);
  if (width * height > maxPixels) throw new UnusableImage(`too large, ${shown}`);
  return { width, height, cmyk: space === 'cmyk' };
}

const READ = new Set(['JPEG', 'PNG', 'WebP', 'TIFF', 'AVIF', 'GIF']);

/** The format by the first bytes, or what else the file is. */
function formatOf(bytes: Uint8Array): string {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64));
  const text = head.toString('latin1');
  if (text.startsWith('\xff\xd8\xff')) return 'JPEG';
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'PNG';
  if (text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP') return 'WebP';
  if (/^GIF8[79]a/.test(text)) return 'GIF';
  if (/^(II[*+]\0|MM\0[*+])/.test(text)) return 'TIFF';
  if (text.startsWith('BM')) return 'a BMP image';
  if (text.slice(4, 8) === 'ftyp') {
    // Brands of the file type box: the major one, then compatible ones.
    const brands = text.slice(8, Math.min(64, head.readUInt32BE(0)));
    if (/avi[fs]/.test(brands)) return 'AVIF';
    return /hei[cxms]|hev[cx]|mif1|msf1/.test(brands) ? 'a HEIC image' : 'a film';
  }
  return 'no image of a known format';
}

interface RawOptions {
  /** Of the stretched image, and the margins around it. */
  placed: ReturnType<typeof placedPixels>;
  /** 4: with alpha. */
  depth: 3 | 4;
  resize: boolean;
  maxPixels: number;
  /** Inks have no colours without their profile. */
  cmyk: boolean;
}

/** Bytes of the stretched image, row by row, the channels of a pixel together. */
async function rawPixels(
  bytes: Uint8Array,
  { placed, depth, resize, maxPixels, cmyk }: RawOptions,
): Promise<Uint8Array> {
  const sharp = await loadSharp();
  const { top, left, bottom, right, height, width } = placed;
  const padded = top + left + bottom + right > 0;
  const decode = (
    failOn: 'warning' | 'error',
  ): Promise<{ data: Buffer; info: { channels: number } }> => {
    const options: SharpOptions = {
      failOn,
      limitInputPixels: maxPixels,
      ignoreIcc: !cmyk,
      autoOrient: true,
      animated: false,
    };
    const opened = sharp(bytes, options);
    let image: Sharp = depth === 4 ? opened.ensureAlpha() : opened.flatten({ background: '#fff' });
    if (resize) {
      const how = { fit: 'fill', kernel: 'linear', fastShrinkOnLoad: false } as const;
      image = image.resize(width, height, how);
    }
    if (padded) image = image.extend({ top, left, bottom, right, extendWith: 'copy' });
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
  const pixels = (top + height + bottom) * (left + width + right);
  if (info.channels !== depth || data.length !== pixels * depth) {
    throw new UnusableImage(`${String(info.channels)} channels`);
  }
  return data;
}

interface Blocks {
  rows: number;
  columns: number;
  /** Bytes of a pixel. */
  depth: number;
  /** Side of a block. */
  block: number;
}

/** Mean of block x block pixels, rounded half up: (sum + count / 2) / count. */
function averageBlocks(pixels: Uint8Array, { rows, columns, depth, block }: Blocks): Uint8Array {
  if (block === 1) return pixels;
  const result = new Uint8Array(rows * columns * depth);
  const count = block * block;
  const half = count >> 1;
  const stride = columns * block * depth;
  for (let y = 0, at = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      for (let c = 0; c < depth; c++) {
        let sum = half;
        for (let i = 0; i < block; i++) {
          const row = (y * block + i) * stride + x * block * depth + c;
          for (let j = 0; j < block; j++) sum += pixels[row + j * depth] ?? 0;
        }
        result[at++] = Math.floor(sum / count);
      }
    }
  }
  return result;
}

/**
 * RGB bytes -> luma bytes by Rec. 601 as PIL's mode L has it, in 16 bits of fraction, rounded: what grey
 * networks are trained on. (libvips' own grey weighs linear light: another number.)
 */
function luma(pixels: Uint8Array): Uint8Array {
  const result = new Uint8Array(pixels.length / 3);
  for (let i = 0, at = 0; i < result.length; i++, at += 3) {
    const [r = 0, g = 0, b = 0] = [pixels[at], pixels[at + 1], pixels[at + 2]];
    result[i] = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;
  }
  return result;
}

/** Bytes (height, width, channels) -> (channels, height, width) in the network's units and order. */
function normalise(pixels: Uint8Array, format: InputFormat, mirror: boolean): Float32Array {
  const { channels, scale, mean, std } = format;
  const [rows, columns] = sidesOf(format.size);
  const depth = channelCount(channels);
  const result = new Float32Array(depth * rows * columns);
  for (let c = 0; c < depth; c++) {
    const table = Float32Array.from(
      { length: 256 },
      (_, byte) => (byte * scale - (mean[c] ?? 0)) / (std[c] ?? 1),
    );
    const source = channels === 'BGR' ? 2 - c : c;
    for (let y = 0; y < rows; y++) {
      const row = (c * rows + y) * columns;
      for (let x = 0; x < columns; x++) {
        const from = mirror ? columns - 1 - x : x;
        result[row + x] = table[pixels[(y * columns + from) * depth + source] ?? 0] ?? 0;
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
