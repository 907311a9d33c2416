import { expect } from 'chai';
import sharp, { type Sharp } from 'sharp';
import type { ImageBatch, InputFormat } from '../../lib/data/images.js';

export interface Picture {
  width: number;
  height: number;
  /** (height, width, 3) bytes. */
  data: Buffer;
}

/** A picture given by a function of (x, y). */
export function picture(
  width: number,
  height: number,
  colour: (x: number, y: number) => readonly [number, number, number],
): Picture {
  const data = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) data.set(colour(x, y), (y * width + x) * 3);
  }
  return { width, height, data };
}

/** Red left, green right, the lower half darker: smooth enough for JPEG, without symmetry. */
export function corners(width: number, height: number): Picture {
  return picture(width, height, (x, y) => {
    const value = y < height / 2 ? 240 : 120;
    return x < width / 2 ? [value, 0, 0] : [0, value, 0];
  });
}

export function encode({ width, height, data }: Picture): Sharp {
  return sharp(data, { raw: { width, height, channels: 3 } });
}

/** Bytes of an animated WebP file. */
export async function animation(frames: readonly Picture[]): Promise<Buffer> {
  const { width = 1, height = 1 } = frames[0] ?? {};
  const data = Buffer.concat(frames.map((frame) => frame.data));
  const raw = { width, height: height * frames.length, channels: 3, pageHeight: height } as const;
  return sharp(data, { raw }).webp({ lossless: true, loop: 0 }).toBuffer();
}

/** Bytes as they are: no scaling, no mean. */
export const plain = (size: InputFormat['size'], more: Partial<InputFormat> = {}): InputFormat => ({
  size,
  supersample: 1,
  channels: 'RGB',
  scale: 1,
  mean: [0, 0, 0],
  std: [1, 1, 1],
  ...more,
});

/** [r, g, b] of a pixel of (3, size, size). */
export function at(pixels: Float32Array, size: number, y: number, x: number): number[] {
  return [0, 1, 2].map((c) => pixels[(c * size + y) * size + x] ?? NaN);
}

export function expectNear(
  found: readonly number[],
  wanted: readonly number[],
  tolerance: number,
): void {
  found.forEach((value, i) => {
    expect(value, `${found.join()} for ${wanted.join()}`).to.be.closeTo(
      wanted[i] ?? NaN,
      tolerance,
    );
  });
}

/** All batches. */
export async function collect(batches: AsyncIterable<ImageBatch>): Promise<ImageBatch[]> {
  const all: ImageBatch[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}
