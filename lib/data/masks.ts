import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { PartlensError } from '../errors.js';
import { loadSharp } from './decode.js';
import { fileError, hasSystemCode } from './file_error.js';
import { sidesOf, type ImageSize } from './image_size.js';

/** Which part each pixel of an image shows: 0 none, else a whole number for each part. */
export interface PartMask {
  width: number;
  height: number;
  /** (height, width), row-major. */
  labels: Uint16Array;
}

/** Where the mask of a photograph lies: `<folder>/<its path>` with the extension `.png`. */
export function maskPath(folder: string, image: string): string {
  const { dir, name } = path.parse(image);
  return path.join(folder, dir, `${name}.png`);
}

/**
 * Reads a PNG of one grey channel, 8 or 16 bits, whose values are labels; undefined where there is no such file.
 * Throws `E_FILE` for one that cannot be read or is of another kind: colours of a palette are no labels.
 */
export async function readMask(file: string): Promise<PartMask | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    if (hasSystemCode(cause, 'ENOENT')) return undefined;
    throw fileError('read', file, cause);
  }
  const refuse = (received: string, cause?: unknown): PartlensError => {
    const text = `Expected a PNG of one grey channel, its values labels, for ${file} but received ${received}.`;
    return new PartlensError('E_FILE', `[masks] ${text}`, { op: 'masks', cause });
  };
  const sharp = await loadSharp();
  try {
    const { format, channels, depth, width, height } = await sharp(bytes).metadata();
    if (format !== 'png' || channels !== 1 || (depth !== 'uchar' && depth !== 'ushort')) {
      throw refuse(`${format} of ${String(channels)} channels, ${depth}`);
    }
    const space = depth === 'uchar' ? 'b-w' : 'grey16';
    const data = await sharp(bytes).toColourspace(space).raw({ depth }).toBuffer();
    const values =
      depth === 'uchar' ? data : new Uint16Array(data.buffer, data.byteOffset, width * height);
    return { width, height, labels: Uint16Array.from(values) };
  } catch (cause) {
    if (cause instanceof PartlensError) throw cause;
    throw refuse((cause as Error).message.trim().split('\n')[0] ?? '', cause);
  }
}

/**
 * The label at a point [y, x] of the network's input (0-based pixels) that shows the whole image: that of the
 * mask's pixel in which the point lies.
 */
export function labelAt(
  { width, height, labels }: PartMask,
  [y, x]: readonly [number, number],
  size: ImageSize,
): number {
  const [rows, columns] = sidesOf(size);
  const pixel = (at: number, side: number, count: number): number =>
    Math.min(count - 1, Math.max(0, Math.floor(((at + 0.5) / side) * count)));
  return labels[pixel(y, rows, height) * width + pixel(x, columns, width)] ?? 0;
}
