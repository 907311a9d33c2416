// node --import tsx/esm bench/performers/compare.ts FOLDER [--time] [--threads 2] [--only NAME,...]
//
// Each NAME.onnx (or NAME.*.onnx) of the folder with a NAME.npz beside it, x (N, 3, s, s) and y, as
// torchvision_models.py and train.py write them: is it read, which layers of 14 x 14 cells (or the
// nearest side) are offered, how far is the output from y; onnxruntime-node, where it is installed,
// says the same of the file itself. --time: features of 8 images against onnxruntime-node, in turn.
// Prints Markdown; the exit code is 1 if an output is wrong or nothing was compared.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { PartlensError } from '../../lib/errors.js';
import {
  inspectModel,
  loadPerformer,
  type ExplainableLayer,
  type Performer,
} from '../../lib/performer/index.js';
import { loadOnnxRuntime } from '../../test/support/onnxruntime.js';
import { alternate, timed, type Body } from '../train/measure.js';
import { OURS, rowsOf, table } from '../train/report.js';
import { readNpz, type FloatArray } from './npz.js';

const SIDE = 14;
/** AlexNet and SqueezeNet have 13 cells a side where others have 14, Inception 17. */
const MIDDLE = [13, 17] as const;
const AGREE = 1e-4;
const BATCH = 8;
const ROUNDS = 7;
const RUNTIME = 'onnxruntime';

interface Case {
  name: string;
  path: string;
  x: FloatArray;
  y: FloatArray;
}

interface Found {
  name: string;
  /** Of the output by us and by onnxruntime, relative to the largest value of y. */
  error?: number;
  runtimeError?: number;
  layers?: ExplainableLayer[];
  /** First line of what was refused. */
  refusal?: string;
  /** Milliseconds for a batch, and the median of onnxruntime's time over ours. */
  times?: { ours: number; theirs: number; ratio: number };
}

interface Settings {
  threads: number;
  time: boolean;
}

const runtime = await loadOnnxRuntime();

/** The files of a folder that have values to compare with. */
async function casesOf(folder: string): Promise<{ name: string; npz: string; path: string }[]> {
  const files = (await readdir(folder)).sort();
  return files.flatMap((file) => {
    if (!file.endsWith('.onnx')) return [];
    const name = file.slice(0, -'.onnx'.length);
    const npz = [name, name.split('.')[0] ?? name].find((stem) => files.includes(`${stem}.npz`));
    if (npz === undefined) return [];
    return [{ name, npz: join(folder, `${npz}.npz`), path: join(folder, file) }];
  });
}

/** Largest difference over the largest value; Infinity where lengths differ, NaN is kept. */
function difference(values: ArrayLike<number>, y: Float32Array): number {
  if (values.length !== y.length) return Infinity;
  let [largest, top] = [0, 0];
  for (const [i, value] of y.entries()) {
    const distance = Math.abs((values[i] ?? NaN) - value);
    if (Number.isNaN(distance)) return NaN;
    largest = Math.max(largest, distance);
    top = Math.max(top, Math.abs(value));
  }
  return largest / top;
}

/** The layers whose side is nearest to 14. */
function nearestLayers(layers: readonly ExplainableLayer[]): ExplainableLayer[] {
  const distance = ({ height }: ExplainableLayer): number => Math.abs(height - SIDE);
  const least = Math.min(...layers.map(distance));
  return layers.filter((layer) => distance(layer) === least);
}

function isMiddle(size = 0): boolean {
  return size >= MIDDLE[0] && size <= MIDDLE[1];
}

async function examine(model: Case, settings: Settings): Promise<Found> {
  const found: Found = { name: model.name };
  const theirs = await openRuntime(model.path, settings.threads);
  try {
    if (theirs) found.runtimeError = difference((await theirs.run(model.x)).output, model.y.data);
    const [, , size = 0] = model.x.shape;
    const preprocessing = {
      size,
      mean: [0, 0, 0],
      std: [1, 1, 1],
      channels: 'RGB',
      scale: 1,
    } as const;
    found.layers = nearestLayers((await inspectModel(model.path, { preprocessing })).layers);
    const layer = found.layers[found.layers.length >> 1]?.name;
    if (layer === undefined) return { ...found, refusal: 'it is read, but no layer is offered' };
    const performer = await loadPerformer(model.path, {
      ...{ layer, preprocessing, batch: BATCH, threads: settings.threads, backend: 'cpu' },
    });
    try {
      const { output } = await performer.features(model.x.data, model.x.shape[0] ?? 0);
      found.error = difference(output, model.y.data);
      if (settings.time && theirs) found.times = await compareTimes(performer, theirs, model.x);
    } finally {
      performer.dispose();
    }
  } catch (error) {
    if (!(error instanceof PartlensError)) throw error;
    found.refusal = error.message.split('\n')[0] ?? '';
  } finally {
    await theirs?.release();
  }
  return found;
}

interface Runtime {
  run: (x: FloatArray) => Promise<{ output: Float32Array }>;
  release: () => Promise<void>;
}

async function openRuntime(path: string, threads: number): Promise<Runtime | undefined> {
  if (!runtime) return undefined;
  const session = await runtime.InferenceSession.create(path, {
    intraOpNumThreads: threads,
    logSeverityLevel: 3,
  });
  const [[input = ''], [output = '']] = [session.inputNames, session.outputNames];
  return {
    run: async ({ shape, data }) => {
      const feeds = { [input]: new runtime.Tensor('float32', data, shape) };
      return { output: (await session.run(feeds, [output]))[output]?.data as Float32Array };
    },
    release: () => session.release(),
  };
}

async function compareTimes(
  performer: Performer,
  theirs: Runtime,
  { shape, data }: FloatArray,
): Promise<NonNullable<Found['times']>> {
  const [count = 1, ...image] = shape;
  const each = data.length / count;
  const images = new Float32Array(BATCH * each);
  for (let i = 0; i < BATCH; i++) images.set(data.subarray(0, each), i * each);
  const batch = { shape: [BATCH, ...image], data: images };
  const bodies = new Map<string, Body>([
    [OURS, (times) => timed(times, () => performer.features(images, BATCH))],
    [RUNTIME, (times) => timed(times, () => theirs.run(batch))],
  ]);
  const samples = await alternate(bodies, ROUNDS);
  const [ours, peer] = rowsOf(samples);
  return { ours: ours?.ms ?? NaN, theirs: peer?.ms ?? NaN, ratio: peer?.ratio ?? NaN };
}

/** `14 x 14: 6, conv4_1 to conv5_3`. */
function describe(layers: readonly ExplainableLayer[] = []): string {
  const [first] = layers;
  const last = layers.at(-1);
  if (!first || !last) return 'none';
  const names = first === last ? first.name : `${first.name} to ${last.name}`;
  return `${String(first.height)} x ${String(first.width)}: ${String(layers.length)}, ${names}`;
}

function row(
  { name, error, runtimeError, layers, refusal, times }: Found,
  time: boolean,
): string[] {
  const number = (value: number | undefined): string => value?.toExponential(1) ?? '';
  const measured = times && [
    times.ours.toFixed(1),
    times.theirs.toFixed(1),
    times.ratio.toFixed(2),
  ];
  const said = refusal?.replaceAll('|', '\\|') ?? describe(layers);
  return [
    name,
    number(error),
    number(runtimeError),
    ...(time ? (measured ?? ['', '', '']) : []),
    said,
  ];
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    time: { type: 'boolean', default: false },
    threads: { type: 'string', default: '2' },
    only: { type: 'string' },
  },
});
const [folder = '.'] = positionals;
const only = values.only?.split(',');
const settings = { threads: Number(values.threads), time: values.time };
const results: Found[] = [];
for (const { name, npz, path } of await casesOf(folder)) {
  if (only && !only.includes(name)) continue;
  const arrays = await readNpz(npz);
  const [x, y] = [arrays.get('x'), arrays.get('y')];
  if (!x || !y) throw new Error(`${npz} has no x and y.`);
  results.push(await examine({ name, path, x, y }, settings));
}
const columns = settings.time ? `ms|${RUNTIME} ms|ratio|` : '';
const titles = `model|error|${RUNTIME}'s error|${columns}layers offered, or the refusal`;
console.log(
  table(
    titles,
    results.map((found) => row(found, settings.time)),
  ),
);
const compared = results.filter(({ error }) => error !== undefined);
const right = compared.filter(({ error = NaN }) => error <= AGREE);
const middle = right.filter(({ layers }) => isMiddle(layers?.[0]?.height));
const counts = [results, compared, right, middle].map(({ length }) => String(length));
console.log(
  `\n${counts[0] ?? ''} models, ${counts[1] ?? ''} compared: ${counts[2] ?? ''} within ` +
    `${String(AGREE)}, ${counts[3] ?? ''} of these with a layer of ${MIDDLE.join(' to ')} cells.`,
);
if (!runtime) console.log(`${RUNTIME}-node is not installed: ours alone, no times.`);
if (right.length < compared.length || compared.length === 0) process.exitCode = 1;
