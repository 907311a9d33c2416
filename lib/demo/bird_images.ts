import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { writeTextAtomic } from '../data/atomic.js';
import { mapOrdered } from '../data/ordered.js';
import { Random } from '../random.js';
import { BACKGROUND, drawBird, LABEL_STEP, PARTS } from './birds.js';
import { SPECIES } from './species.js';

export interface BirdOptions {
  /** Number of images; a fifth of them without a bird. */
  images: number;
  /** Side of the images, pixels. */
  size: number;
  seed: number;
  /** Folder for part masks, `<class>/<number>.png` (`LABELS`), default none. */
  masks?: string | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Names of the classes, sorted: the order in which a network counts them. */
export const BIRD_CLASSES: readonly string[] = [
  ...SPECIES.map(({ name }) => name),
  BACKGROUND,
].sort();

/**
 * Draws a data set into a folder: `<class>/<number>.png` and `landmarks.csv` with the columns image,
 * category, part, y, x (0-based pixels). The same seed draws the same pictures.
 */
export async function writeBirds(
  folder: string,
  { images, size, seed, masks, signal, onProgress }: BirdOptions,
): Promise<void> {
  const kinds = [...SPECIES, undefined];
  for (const kind of kinds) {
    await mkdir(join(folder, kind?.name ?? BACKGROUND), { recursive: true });
    if (kind && masks !== undefined) await mkdir(join(masks, kind.name), { recursive: true });
  }
  const draw = async (n: number): Promise<string[]> => {
    const bird = n % 5 === 4 ? undefined : SPECIES[n % SPECIES.length];
    const category = bird?.name ?? BACKGROUND;
    const { svg, mask, landmarks } = drawBird(bird, size, new Random(seed, `birds/${String(n)}`));
    const image = `${category}/${String(n).padStart(5, '0')}.png`;
    await sharp(Buffer.from(svg))
      .removeAlpha()
      .png({ compressionLevel: 4 })
      .toFile(join(folder, image));
    if (mask !== undefined && masks !== undefined) await writeMask(join(masks, image), mask);
    return PARTS.flatMap((part) => {
      const at = landmarks[part];
      return at ? [`${image},${category},${part},${at.y.toFixed(2)},${at.x.toFixed(2)}`] : [];
    });
  };
  const lines = ['image,category,part,y,x'];
  const numbers = Array.from({ length: images }, (_, n) => n);
  let done = 0;
  for await (const rows of mapOrdered(numbers, draw, { concurrency: 4, ahead: 64, signal })) {
    lines.push(...rows);
    onProgress?.(++done, images);
  }
  await writeTextAtomic(join(folder, 'landmarks.csv'), `${lines.join('\n')}\n`);
}

/** One grey channel whose values are labels. */
async function writeMask(file: string, svg: string): Promise<void> {
  const drawn = sharp(Buffer.from(svg)).removeAlpha().extractChannel(0).raw();
  const { data, info } = await drawn.toBuffer({ resolveWithObject: true });
  const labels = data.map((value) => value / LABEL_STEP);
  const raw = { width: info.width, height: info.height, channels: 1 } as const;
  await sharp(labels, { raw }).toColourspace('b-w').png({ compressionLevel: 4 }).toFile(file);
}
