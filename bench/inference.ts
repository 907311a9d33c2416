// npm run bench -- inference [MODEL.onnx ...]: performers on the CPU against onnxruntime-node, features of a
// batch (the layer's maps, the targets, the output, of both), in turn in one run. A network of VGG-16's shape (FC
// layers of 1024), and the files that are named, at the layer that `inspectModel` proposes.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { loadPerformer, type LoadPerformerOptions } from '../lib/index.js';
import { ModelSchema, ValueInfoSchema } from '../lib/performer/onnx_proto.js';
import { readOnnx } from '../lib/performer/onnx_read.js';
import { encodeModel } from '../lib/performer/onnx_write.js';
import { NetBuilder, randomImages } from '../test/support/onnx_models.js';
import { loadOnnxRuntime, relativeError } from '../test/support/onnxruntime.js';
import { alternate, timed, type Body } from './train/measure.js';
import { OURS, rowsOf, table, writeTable } from './train/report.js';

const SIZE = 224;
const BATCH = 8;
const ROUNDS = 11;
const DEPTHS = [
  [64, 64],
  [128, 128],
  [256, 256, 256],
  [512, 512, 512],
  [512, 512, 512],
];
const AGREE = 1e-4;
const THREADS = availableParallelism();

interface Model {
  name: string;
  path: string;
  cut?: Pick<LoadPerformerOptions, 'layer' | 'targets' | 'output'>;
}

/** Writes the network to a file of the folder. */
async function vgg16(folder: string): Promise<Model> {
  const net = new NetBuilder({ size: SIZE });
  let x = 'image';
  let [C, layer] = [3, ''];
  DEPTHS.forEach((filters, stage) => {
    filters.forEach((O, i) => {
      const name = `conv${String(stage + 1)}_${String(i + 1)}`;
      x = net.relu(net.conv(x, name, [O, C, 3], { pads: [1, 1, 1, 1] }));
      [C, layer] = [O, x];
    });
    x = net.maxPool(x, `pool${String(stage + 1)}`, 2);
  });
  x = net.node('Flatten', 'flat', [x]);
  const fc6 = net.relu(net.gemm(x, 'fc6', [1024, 512 * 49]));
  const fc7 = net.relu(net.gemm(fc6, 'fc7', [1024, 1024]));
  const output = net.gemm(fc7, 'fc8', [1000, 1024]);
  const path = join(folder, 'vgg16.onnx');
  await writeFile(path, encodeModel(net.spec(layer, fc6, fc7, output)));
  return { name: 'vgg16, FC 1024', path, cut: { layer, targets: [fc6, fc7], output } };
}

/** The model with these values as its outputs: both give the same out. */
async function withOutputs(path: string, names: readonly string[]): Promise<Uint8Array> {
  const { proto } = await readOnnx(path);
  const outputs = [...new Set(names)].map((name) => create(ValueInfoSchema, { name }));
  if (proto.graph) proto.graph.output = outputs;
  return toBinary(ModelSchema, proto);
}

/** One row for each runtime: wall and CPU milliseconds of a batch, and times ours. */
async function measure({ name, path, cut }: Model): Promise<string[][]> {
  const images = randomImages(BATCH, SIZE);
  const performer = await loadPerformer(path, {
    ...{ ...cut, batch: BATCH, threads: THREADS, backend: 'cpu' },
    preprocessing: { size: SIZE, mean: [0, 0, 0], std: [1, 1, 1], channels: 'RGB', scale: 1 },
  });
  const bodies = new Map<string, Body>();
  bodies.set(OURS, (count) => timed(count, () => performer.features(images, BATCH)));
  const runtime = await loadOnnxRuntime();
  const options = { intraOpNumThreads: THREADS, logSeverityLevel: 3 } as const;
  const wanted = [performer.output, performer.layer, ...performer.targets].map((one) => one.name);
  const whole = await withOutputs(path, wanted);
  const session = await runtime?.InferenceSession.create(whole, options);
  try {
    let error = NaN;
    if (runtime && session) {
      const [input = ''] = session.inputNames;
      const feeds = { [input]: new runtime.Tensor('float32', images, [BATCH, 3, SIZE, SIZE]) };
      const [ours, theirs] = [
        await performer.features(images, BATCH),
        await session.run(feeds, wanted),
      ];
      error = relativeError(ours.output, theirs[performer.output.name]?.data as Float32Array);
      if (!(error < AGREE)) throw new Error(`outputs differ by ${error.toExponential(1)}`);
      bodies.set('onnxruntime', (count) => timed(count, () => session.run(feeds, wanted)));
    }
    const rows = rowsOf(await alternate(bodies, ROUNDS));
    return rows.map(({ name: by, ms, cpuMs, ratio }) => [
      name,
      by,
      ms.toFixed(1),
      cpuMs.toFixed(1),
      ratio.toFixed(2),
      by === OURS ? '' : error.toExponential(0),
    ]);
  } finally {
    performer.dispose();
    await session?.release();
  }
}

const folder = await mkdtemp(join(tmpdir(), 'partlens-bench-'));
try {
  if (!(await loadOnnxRuntime())) console.log('onnxruntime-node is not installed: ours alone.');
  const named = process.argv.filter((argument) => argument.endsWith('.onnx'));
  const models = [
    await vgg16(folder),
    ...named.map((path) => ({ name: basename(path, '.onnx'), path })),
  ];
  const rows: string[][] = [];
  for (const model of models) rows.push(...(await measure(model)));
  const about = `Performers on the CPU: ${String(BATCH)} images of ${String(SIZE)} pixels, ${String(THREADS)} threads, medians of ${String(ROUNDS)} rounds in turn.`;
  const titles = 'model|runtime|wall ms|CPU ms|wall / ours|outputs differ by';
  console.log(await writeTable('inference', about, table(titles, rows)));
} finally {
  await rm(folder, { recursive: true, force: true });
}
