import { readFile } from 'node:fs/promises';
import { listImages, readImages } from '../../lib/data/index.js';
import type { Explainer } from '../../lib/explainer.js';
import { N, SIDE, type Tiny } from '../explainer/tiny.js';

/** Cells of a map of the tiny network. */
export const CELLS = N * N;
/** Parts of its photographs. */
export const PARTS = ['blob', 'edge'];

/** One photograph as the evaluation should see it. */
export interface Photograph {
  path: string;
  className: string;
  /** Maps of the performer and of both interpretable layers. */
  maps: Float32Array[];
  targets: Float32Array[];
  rebuilt: Float32Array[];
  output: Float32Array;
  /** Position of each part in the network's input, or undefined. */
  parts: ([number, number] | undefined)[];
}

/** Everything anew from the files, one photograph at a time. */
export async function photographs(tiny: Tiny, explainer: Explainer): Promise<Photograph[]> {
  const { performer } = explainer;
  const marks = new Map<string, [number, number]>();
  for (const line of (await readFile(tiny.landmarks, 'utf8')).trim().split('\n').slice(1)) {
    const [image, , part, y, x] = line.split(',');
    const place = (at: string | undefined, side: number): number =>
      ((Number(at) + 0.5) * SIDE) / side - 0.5;
    marks.set(`${image}/${part}`, [place(y, 24), place(x, 20)]);
  }
  const { images } = await listImages(tiny.images);
  const found: Photograph[] = [];
  for await (const batch of readImages(images, performer.preprocessing, { batch: 1 })) {
    const [{ path, className } = { path: '', className: '' }] = batch.images;
    const { layer, targets, output } = await performer.features(batch.pixels, 1);
    const { layer1, layer2, rebuilt } = await explainer.maps(layer, 1);
    const parts = PARTS.map((part) => marks.get(`${path}/${part}`));
    const maps = [layer, layer1, layer2];
    found.push({ path, className, maps, targets, rebuilt, output, parts });
  }
  return found;
}
