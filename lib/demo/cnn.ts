import { writeFileAtomic, writeJsonAtomic } from '../data/atomic.js';
import type { ImageFile } from '../data/images.js';
import { readImages } from '../data/images.js';
import { PartlensError } from '../errors.js';
import { gradient } from '../engine/grad.js';
import { Graph, type Value } from '../engine/graph.js';
import {
  conv2d,
  dropout,
  flatten,
  linear,
  maxpool2d,
  softmax,
  softmaxCrossEntropy,
} from '../engine/ops/index.js';
import { adam, cosine, hyperParameters } from '../engine/optimizer/index.js';
import { encodeModel, sidecarPath, type NodeSpec, type TensorSpec } from '../performer/index.js';
import { Random } from '../random.js';
import {
  createSession,
  deviceOptions,
  type DeviceOptions,
  type Session,
} from '../engine/session.js';
import { sizeOf } from '../engine/tensor.js';

/** The layers of the demo's network: a small VGG, 56 x 56 pixels to 64 maps of 14 x 14. */
const CONVOLUTIONS = [
  { name: 'conv1', channels: 16, pool: true },
  { name: 'conv2', channels: 32, pool: true },
  { name: 'conv3', channels: 64, pool: false },
  { name: 'conv4', channels: 64, pool: true },
] as const;
const HIDDEN = [
  { name: 'fc5', size: 128 },
  { name: 'fc6', size: 128 },
] as const;

/** What the explainer is asked for on this network. */
export const DEMO_LAYER = 'conv4_relu';
export const DEMO_TARGETS = ['fc5_relu', 'fc6_relu'];
/** Side of the network's input; images of twice this size are averaged down. */
export const DEMO_SIDE = 56;

const PREPROCESSING = {
  size: DEMO_SIDE,
  supersample: 2,
  channels: 'RGB',
  scale: 1 / 255,
  mean: [0.5, 0.5, 0.5],
  std: [0.25, 0.25, 0.25],
} as const;

const BATCH = 50;
const LEARNING_RATE = 1e-3;
/** Of the hidden layers, in training. */
const DROPOUT = 0.3;

export interface TrainCnnOptions extends DeviceOptions {
  images: readonly ImageFile[];
  /** Class names in the order of the network's outputs. */
  classes: readonly string[];
  seed: number;
  epochs: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number, loss: number) => void) | undefined;
}

/** Trains the demo's network; every fifth image is kept out. Resolves with its validation accuracy. */
export async function trainCnn(
  path: string,
  options: TrainCnnOptions,
): Promise<{ accuracy: number }> {
  const { images, classes, seed, epochs, signal, onProgress } = options;
  const data = await loadAll(images, classes, signal);
  const random = new Random(seed, 'cnn');
  const order = random.permutation(data.labels.length);
  const validation = Array.from(order.subarray(0, Math.floor(order.length / 5)));
  const train = Array.from(order.subarray(validation.length));
  const session = await createSession({
    programs: { train: trainingGraph(classes.length), predict: predictionGraph(classes.length) },
    ...deviceOptions(options),
  });
  try {
    await session.write(initialParameters(session, random));
    const perEpoch = Math.floor(train.length / BATCH);
    const steps = epochs * perEpoch;
    for (let step = 0; step < steps; step++) {
      signal?.throwIfAborted();
      if (step % perEpoch === 0) random.shuffle(train);
      const rows = train.slice((step % perEpoch) * BATCH, (step % perEpoch) * BATCH + BATCH);
      const { x, labels } = pick(data, rows);
      mirrorSome(x, random);
      const inputs = {
        ...{ x, labels, seed: Int32Array.of(seed, step) },
        hyper: hyperParameters(cosine(step, steps, LEARNING_RATE), step),
      };
      const { loss } = await session.run('train', { inputs, fetch: ['loss'] });
      onProgress?.(step + 1, steps, loss?.[0] ?? NaN);
    }
    const accuracy = await score(session, data, validation);
    await exportCnn(path, session, classes);
    return { accuracy };
  } finally {
    session.dispose();
  }
}

interface Images {
  pixels: Float32Array;
  labels: Int32Array;
}

async function loadAll(
  files: readonly ImageFile[],
  classes: readonly string[],
  signal?: AbortSignal,
): Promise<Images> {
  const size = 3 * DEMO_SIDE * DEMO_SIDE;
  const pixels = new Float32Array(files.length * size);
  const labels = new Int32Array(files.length);
  let count = 0;
  for await (const batch of readImages(files, PREPROCESSING, signal ? { signal } : {})) {
    pixels.set(batch.pixels, count * size);
    for (const { className } of batch.images) labels[count++] = classes.indexOf(className);
  }
  if (count >= 2 * BATCH)
    return { pixels: pixels.subarray(0, count * size), labels: labels.subarray(0, count) };
  throw new PartlensError('E_ARGUMENT', `Expected at least ${String(2 * BATCH)} images.`, {
    op: 'demo',
  });
}

/** Some images as inputs of a program, the last ones repeated up to a whole batch. */
function pick(
  { pixels, labels }: Images,
  rows: readonly number[],
): { x: Float32Array; labels: Int32Array } {
  const size = 3 * DEMO_SIDE * DEMO_SIDE;
  const x = new Float32Array(BATCH * size);
  const chosen = Array.from({ length: BATCH }, (_, i) => rows[i % rows.length] ?? 0);
  chosen.forEach((row, i) => x.set(pixels.subarray(row * size, (row + 1) * size), i * size));
  return { x, labels: Int32Array.from(chosen, (row) => labels[row] ?? 0) };
}

/** Turns half of the images left to right, in place. */
function mirrorSome(x: Float32Array, random: Random): void {
  const size = 3 * DEMO_SIDE * DEMO_SIDE;
  for (let start = 0; start < x.length; start += size) {
    if (random.uniform() < 0.5) continue;
    for (let row = start; row < start + size; row += DEMO_SIDE) {
      x.subarray(row, row + DEMO_SIDE).reverse();
    }
  }
}

async function score(session: Session, data: Images, rows: readonly number[]): Promise<number> {
  let right = 0;
  for (let start = 0; start < rows.length; start += BATCH) {
    const part = rows.slice(start, start + BATCH);
    const { x } = pick(data, part);
    const got = await session.run('predict', { inputs: { x }, fetch: ['y'] });
    const y = got['y'] ?? new Float32Array(0);
    const K = y.length / BATCH;
    part.forEach((row, i) => {
      const scores = Array.from(y.subarray(i * K, (i + 1) * K));
      if (scores.indexOf(Math.max(...scores)) === data.labels[row]) right++;
    });
  }
  return right / rows.length;
}

/** Logits (N, classes) of images (N, 3, 56, 56); `seed` (2): in training, with dropout. */
function network(graph: Graph, x: Value, classes: number, seed?: Value): Value {
  let maps = x;
  for (const { name, channels, pool } of CONVOLUTIONS) {
    const shape = [channels, maps.shape[1] ?? 3, 3, 3];
    const w = graph.parameter(`${name}.weight`, shape, { layout: 'conv_weight' });
    maps = conv2d(maps, w, graph.parameter(`${name}.bias`, [channels]), { pad: 1, relu: true });
    if (pool) maps = maxpool2d(maps, { kernel: 2 });
  }
  let rows = flatten(maps);
  for (const [salt, { name, size }] of [...HIDDEN, { name: 'logits', size: classes }].entries()) {
    const w = graph.parameter(`${name}.weight`, [size, rows.shape[1] ?? 0], {
      layout: 'linear_weight',
      chw: rows.chw,
    });
    const bias = graph.parameter(`${name}.bias`, [size]);
    if (name === 'logits') return linear(rows, w, bias);
    rows = linear(rows, w, bias, { relu: true });
    if (seed) rows = dropout(rows, seed, { rate: DROPOUT, salt });
  }
  return rows;
}

function trainingGraph(classes: number): Graph {
  const graph = new Graph();
  const x = graph.input('x', [BATCH, 3, DEMO_SIDE, DEMO_SIDE]);
  const logits = network(graph, x, classes, graph.input('seed', [2], { dtype: 'i32' }));
  const { loss } = softmaxCrossEntropy(logits, graph.input('labels', [BATCH], { dtype: 'i32' }));
  graph.output('loss', loss);
  const parameters = graph.parameters();
  const grads = gradient([{ of: loss }], parameters);
  const pairs = parameters.flatMap((w, i) => {
    const grad = grads[i];
    return grad ? [[w, grad] as const] : [];
  });
  adam(pairs, graph.input('hyper', [3]), { weightDecay: 1e-4 });
  return graph;
}

function predictionGraph(classes: number): Graph {
  const graph = new Graph();
  const x = graph.input('x', [BATCH, 3, DEMO_SIDE, DEMO_SIDE]);
  graph.output('y', softmax(network(graph, x, classes)));
  return graph;
}

/** He-normal weights, biases 0. */
function initialParameters(session: Session, random: Random): Record<string, Float32Array> {
  const values: Record<string, Float32Array> = {};
  for (const [name, { shape }] of session.persistent(['parameter'])) {
    const deviation = name.endsWith('.bias') ? 0 : Math.sqrt(2 / sizeOf(shape.slice(1)));
    values[name] = Float32Array.from({ length: sizeOf(shape) }, () => deviation * random.normal());
  }
  return values;
}

/** Writes the network as ONNX, opset 17, and beside it the JSON file with preprocessing and classes. */
async function exportCnn(
  path: string,
  session: Session,
  classes: readonly string[],
): Promise<void> {
  const types = session.persistent(['parameter']);
  const values = await session.read([...types.keys()]);
  const initializers: Record<string, TensorSpec> = {};
  for (const [name, { shape }] of types) {
    const data = values[name];
    if (data instanceof Float32Array) initializers[name] = { dims: shape, data };
  }
  const bytes = encodeModel({
    opset: 17,
    inputs: [{ name: 'image', dims: ['N', 3, DEMO_SIDE, DEMO_SIDE] }],
    outputs: [{ name: 'logits', dims: ['N', classes.length] }],
    nodes: onnxNodes(),
    initializers,
  });
  await writeFileAtomic(path, bytes);
  await writeJsonAtomic(sidecarPath(path), { ...PREPROCESSING, classes });
}

function onnxNodes(): NodeSpec[] {
  const nodes: NodeSpec[] = [];
  let from = 'image';
  const add = (opType: string, name: string, rest: string[], attributes = {}): void => {
    nodes.push({ opType, name, inputs: [from, ...rest], outputs: [name], attributes });
    from = name;
  };
  for (const { name, pool } of CONVOLUTIONS) {
    const window = { kernel_shape: [3, 3], pads: [1, 1, 1, 1] };
    add('Conv', name, [`${name}.weight`, `${name}.bias`], window);
    add('Relu', `${name}_relu`, []);
    if (pool) add('MaxPool', `${name}_pool`, [], { kernel_shape: [2, 2], strides: [2, 2] });
  }
  add('Flatten', 'flat', []);
  for (const { name } of HIDDEN) {
    add('Gemm', name, [`${name}.weight`, `${name}.bias`], { transB: 1 });
    add('Relu', `${name}_relu`, []);
  }
  add('Gemm', 'logits', ['logits.weight', 'logits.bias'], { transB: 1 });
  return nodes;
}
