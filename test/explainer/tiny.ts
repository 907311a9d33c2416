import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import type { Explainer } from '../../lib/explainer.js';
import { trainExplainer } from '../../lib/explainer.js';
import type { TrainExplainerOptions } from '../../lib/explainer/train.js';
import {
  encodeModel,
  loadPerformer,
  type LoadPerformerOptions,
  type Performer,
} from '../../lib/performer/index.js';
import { Random } from '../../lib/random.js';
import { NetBuilder } from '../support/onnx_models.js';
import { names } from '../data/temporary.js';

/** Side of the network's input, pixels; the explained maps are 8 x 8. */
export const SIDE = 16;
export const CLASSES = ['bright', 'dark'] as const;
/** Sizes of what the tiny network computes. */
export const [C, N, FC1, FC2, FC3, OUT] = [6, 8, 12, 10, 9, 2];

/**
 * Conv, pooling, `conv2_relu` (6, 8, 8), pooling if asked for, three fully connected layers with ReLU,
 * logits. With its JSON file of preprocessing and classes.
 */
export async function writeModel(path: string, { pool = true } = {}): Promise<string> {
  const net = new NetBuilder({ size: SIDE, seed: 21 });
  const same = { pads: [1, 1, 1, 1] };
  let x = net.maxPool(net.relu(net.conv('image', 'conv1', [4, 3, 3], same)), 'pool1', 2);
  x = net.relu(net.conv(x, 'conv2', [C, 4, 3], same));
  if (pool) x = net.maxPool(x, 'pool2', 2);
  const flat = net.node('Flatten', 'flat', [x]);
  x = net.relu(net.gemm(flat, 'fc1', [FC1, (pool ? N / 2 : N) ** 2 * C]));
  x = net.relu(net.gemm(x, 'fc2', [FC2, FC1]));
  net.gemm(net.relu(net.gemm(x, 'fc3', [FC3, FC2])), 'logits', [OUT, FC3]);
  await writeFile(path, encodeModel(net.spec('logits')));
  const sidecar = {
    size: SIDE,
    mean: [0.5, 0.5, 0.5],
    std: [0.25, 0.25, 0.25],
    channels: 'RGB',
    scale: 1 / 255,
    classes: CLASSES,
  };
  await writeFile(path.replace(/\.onnx$/, '.json'), JSON.stringify(sidecar));
  return path;
}

/** Loads the tiny network: layer `conv2_relu`, targets `fc1_relu`, `fc2_relu`. */
export async function tinyPerformer(
  path: string,
  options: LoadPerformerOptions = {},
): Promise<Performer> {
  return loadPerformer(path, {
    layer: 'conv2_relu',
    targets: ['fc1_relu', 'fc2_relu'],
    backend: 'cpu',
    threads: 1,
    ...options,
  });
}

/**
 * Noise with one bright blob (class `bright`) or dark blob (`dark`), half of the images each, 20 x 24
 * pixels, and `landmarks.csv` with the middle of the blob and, in every third image, a second part.
 */
export async function writePhotographs(folder: string, count: number): Promise<string> {
  const random = new Random(3, 'photographs');
  const lines = ['image,category,part,y,x'];
  for (const name of CLASSES) await mkdir(join(folder, name), { recursive: true });
  for (let n = 0; n < count; n++) {
    const name = CLASSES[n % 2] ?? '';
    const [y, x] = [4 + random.int(16), 4 + random.int(12)];
    const data = Buffer.alloc(24 * 20 * 3);
    for (let i = 0; i < data.length; i++) {
      const [row, column] = [Math.floor(i / 60), Math.floor(i / 3) % 20];
      const inside = Math.hypot(row - y, column - x) < 4;
      data[i] = (inside ? (n % 2 ? 10 : 245) : 100 + (i % 3) * 20) + random.int(10);
    }
    const image = `${name}/${String(n).padStart(3, '0')}.png`;
    const raw = { width: 20, height: 24, channels: 3 } as const;
    await sharp(data, { raw }).png().toFile(join(folder, image));
    lines.push(`${image},${name},blob,${String(y)},${String(x)}`);
    if (n % 3 === 0) lines.push(`${image},${name},edge,${String(y - 4)},${String(x)}`);
  }
  await writeFile(join(folder, 'landmarks.csv'), `${lines.join('\n')}\n`);
  return folder;
}

/** A model and photographs in a folder. */
export interface Tiny {
  model: string;
  images: string;
  landmarks: string;
}

export async function writeTiny(folder: string, { count = 20, pool = true } = {}): Promise<Tiny> {
  const model = await writeModel(join(folder, 'tiny.onnx'), { pool });
  const images = await writePhotographs(join(folder, 'photos'), count);
  return { model, images, landmarks: join(images, 'landmarks.csv') };
}

/** Options of a run of 2 x 4 steps on 20 photographs: 17 train, mirrored, 8 a batch. */
export const QUICK = {
  batch: 8,
  epochs: 2,
  logEvery: 1,
  checkpointEvery: 3,
  backend: 'cpu',
  threads: 1,
} as const;

/** Trains, gives the explainer to `use`, and disposes it. */
export async function withExplainer<T>(
  options: TrainExplainerOptions,
  use: (explainer: Explainer) => Promise<T> | T,
): Promise<T> {
  const explainer = await trainExplainer({ ...QUICK, ...options });
  try {
    return await use(explainer);
  } finally {
    explainer.dispose();
  }
}

/** The newest checkpoint and the metrics of a run, byte for byte. */
export async function traces(run: string): Promise<{ checkpoint: string; metrics: string }> {
  const folder = join(run, 'checkpoints');
  const newest = (await names(folder)).at(-1) ?? '';
  return {
    checkpoint: `${newest} ${(await readFile(join(folder, newest))).toString('base64')}`,
    metrics: await readFile(join(run, 'metrics.jsonl'), 'utf8'),
  };
}
