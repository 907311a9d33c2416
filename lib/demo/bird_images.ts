import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { writeTextAtomic } from '../data/atomic.js';
import { mapOrdered } from '../data/ordered.js';
import { Random } from '../random.js';
import { BACKGROUND, drawBird, PARTS, SPECIES } from './birds.js';

export interface BirdOptions {
  /** Number of images; a fifth of them without a bird. */
  images: number;
  /** Side of the images, pixels. */
  size: number;
  seed: number;
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
  { images, size, seed, signal, onProgress }: BirdOptions,
): Promise<void> {
  const kinds = [...SPECIES, undefined];
  for (const kind of kinds)
    await mkdir(join(folder, kind?.name ?? BACKGROUND), { recursive: true });
  const draw = async (n: number): Promise<string[]> => {
    const bird = n % 5 === 4 ? undefined : SPECIES[n % SPECIES.length];
    const category = bird?.name ?? BACKGROUND;
    const { svg, landmarks } = drawBird(bird, size, new Random(seed, `birds/${String(n)}`));
    const image = `${category}/${String(n).padStart(5, '0')}.png`;
    await sharp(Buffer.from(svg))
      .removeAlpha()
      .png({ compressionLevel: 4 })
      .toFile(join(folder, image));
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
