import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { listImages } from '../../lib/data/index.js';
import { labelAt, maskPath, readMask } from '../../lib/data/masks.js';
import { BIRD_CLASSES, writeBirds } from '../../lib/demo/bird_images.js';
import { BACKGROUND, drawBird, LABELS, PARTS, type Part } from '../../lib/demo/birds.js';
import { SPECIES } from '../../lib/demo/species.js';
import { Random } from '../../lib/random.js';
import { names, temporaryFolder } from '../data/temporary.js';

const SIZE = 224;

/** Largest difference of a channel between a pixel and the nearest brightness of a colour. */
function distance(pixel: readonly number[], colour: string): number {
  const channels = [1, 3, 5].map((i) => Number.parseInt(colour.slice(i, i + 2), 16));
  let best = Infinity;
  for (let light = 0.6; light <= 1.25; light += 0.01) {
    const off = channels.map((c, i) => Math.abs(Math.min(255, c * light) - (pixel[i] ?? NaN)));
    best = Math.min(best, Math.max(...off));
  }
  return best;
}

/** Draws a picture; gives the colour at a position. */
async function render(svg: string): Promise<(y: number, x: number) => number[]> {
  const { data, info } = await sharp(Buffer.from(svg))
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return (y, x) => {
    const at = (Math.round(y) * info.width + Math.round(x)) * info.channels;
    return [...data.subarray(at, at + 3)];
  };
}

describe('demo: birds', () => {
  const folder = temporaryFolder();

  it('landmarks lie in the image, on the colour of their part', async () => {
    const hits: Record<string, boolean[]> = {};
    for (let n = 0; n < 60; n++) {
      const species = SPECIES[n % SPECIES.length];
      if (!species) continue;
      const { svg, landmarks } = drawBird(species, SIZE, new Random(4, `bird/${String(n)}`));
      const pixelAt = await render(svg);
      for (const part of ['head', 'beak', 'wing', 'tail'] as const satisfies readonly Part[]) {
        const at = landmarks[part];
        if (!at) continue;
        expect(Math.min(at.y, at.x), part).to.be.at.least(0);
        expect(Math.max(at.y, at.x), part).to.be.at.most(SIZE - 1);
        (hits[part] ??= []).push(distance(pixelAt(at.y, at.x), species[part]) < 12);
      }
    }
    for (const [part, list] of Object.entries(hits)) {
      expect(list.length, part).to.be.above(40);
      const share = list.filter(Boolean).length / list.length;
      expect(share, `share of ${part} landmarks on their colour`).to.be.at.least(0.9);
    }
  });

  it('masks have the part of each landmark, and nothing but labels', async () => {
    const out = folder();
    await writeBirds(join(out, 'birds'), {
      images: 60,
      size: SIZE,
      seed: 6,
      masks: join(out, 'm'),
    });
    const { images } = await listImages(join(out, 'birds'));
    const text = await readFile(join(out, 'birds', 'landmarks.csv'), 'utf8');
    const [, ...rows] = text.trim().split('\n');
    const hits: boolean[] = [];
    for (const { path, className } of images) {
      const mask = await readMask(maskPath(join(out, 'm'), path));
      if (className === BACKGROUND) {
        expect(mask).to.equal(undefined);
        continue;
      }
      expect([mask?.width, mask?.height]).to.deep.equal([SIZE, SIZE]);
      const seen = new Set(mask?.labels);
      for (const label of seen) expect(label).to.be.within(0, LABELS.length);
      expect(seen.has(LABELS.indexOf('body') + 1) && seen.has(0), path).to.equal(true);
      for (const row of rows.filter((line) => line.startsWith(`${path},`))) {
        const [, , part = '', y, x] = row.split(',');
        if (part === 'legs' || !mask) continue; // between two legs
        const label = labelAt(mask, [Number(y), Number(x)], SIZE);
        hits.push(LABELS[label - 1] === part);
      }
    }
    expect(hits.length).to.be.above(150);
    expect(hits.filter(Boolean).length / hits.length).to.be.above(0.95);
  });

  it('the legs landmark lies between two feet of its colour', async () => {
    let near = 0;
    let count = 0;
    for (let n = 0; n < 30; n++) {
      const species = SPECIES[n % SPECIES.length];
      if (!species) continue;
      const { svg, landmarks } = drawBird(species, SIZE, new Random(5, `bird/${String(n)}`));
      const at = landmarks.legs;
      if (!at) continue;
      count++;
      const offsets = Array.from({ length: 41 }, (_, i) => i - 20);
      const pixelAt = await render(svg);
      const found = offsets
        .map((dx) => Math.min(SIZE - 1, Math.max(0, at.x + dx)))
        .some((x) => distance(pixelAt(at.y, x), species.legs) < 12);
      if (found) near++;
    }
    expect(near / count).to.be.at.least(0.9);
  });

  it('an image without a bird has no landmarks', () => {
    const { svg, landmarks } = drawBird(undefined, 64, new Random(1, 'none'));
    expect(landmarks).to.deep.equal({});
    expect(svg).to.match(/^<svg .*<\/svg>$/s);
  });

  it('one seed draws the same pictures, another draws others', async () => {
    const bytes = async (name: string, seed: number): Promise<string[]> => {
      const to = join(folder(), name);
      await writeBirds(to, { images: 12, size: 48, seed });
      const { images } = await listImages(to);
      const files = [...images.map(({ file }) => file), join(to, 'landmarks.csv')];
      return Promise.all(files.map(async (file) => (await readFile(file)).toString('base64')));
    };
    const [a, again, b] = [await bytes('a', 3), await bytes('again', 3), await bytes('b', 4)];
    expect(again).to.deep.equal(a);
    expect(b.filter((text) => a.includes(text))).to.deep.equal([]);
  });

  it('a fifth of the images is background, the species share the rest', async () => {
    const seen: number[] = [];
    const onProgress = (done: number): number => seen.push(done);
    await writeBirds(folder(), { images: 60, size: 32, seed: 1, onProgress });
    const { images, classes } = await listImages(folder());
    expect(classes).to.deep.equal([...BIRD_CLASSES]);
    expect(seen.at(-1)).to.equal(60);
    const count = (name: string): number =>
      images.filter(({ className }) => className === name).length;
    expect(count(BACKGROUND)).to.equal(12);
    for (const { name } of SPECIES) expect(count(name), name).to.equal(8);
    const [header, ...rows] = (await readFile(join(folder(), 'landmarks.csv'), 'utf8'))
      .trim()
      .split('\n');
    expect(header).to.equal('image,category,part,y,x');
    for (const row of rows) {
      const [image = '', category = '', part = '', y, x] = row.split(',');
      expect(image.startsWith(`${category}/`), row).to.equal(true);
      expect(PARTS, row).to.include(part);
      expect(Number(y), row).to.be.within(0, 31);
      expect(Number(x), row).to.be.within(0, 31);
      expect(category, row).not.to.equal(BACKGROUND);
    }
    expect(rows.length, 'landmarks of 48 birds').to.be.within(48 * 3, 48 * 5);
  });

  it('stops when its signal aborts, without a list of landmarks', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const onProgress = (done: number): void => {
      if (done === 3) controller.abort();
    };
    let failed = false;
    await writeBirds(folder(), { images: 50, size: 32, seed: 1, signal, onProgress }).catch(
      () => (failed = true),
    );
    expect(failed).to.equal(true);
    expect(await names(folder())).not.to.include('landmarks.csv');
  });
});
