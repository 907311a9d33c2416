// npm run bench -- inference: a performer of VGG-16's shape (FC layers of 1024) against onnxruntime-node,
// features of a batch: the layer's maps, both targets, the output.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadPerformer } from '../lib/index.js';
import { encodeModel } from '../lib/performer/onnx_write.js';
import { NetBuilder, randomImages } from '../test/support/onnx_models.js';
import { loadOnnxRuntime, relativeError } from '../test/support/onnxruntime.js';
import { alternate, timed, type Body } from './train/measure.js';
import { OURS, rowsOf, times, writeTable } from './train/report.js';

const SIZE = 224;
const BATCH = 8;
const ROUNDS = 7;
const DEPTHS = [
  [64, 64],
  [128, 128],
  [256, 256, 256],
  [512, 512, 512],
  [512, 512, 512],
];
const AGREE = 1e-4;

/** The model's bytes, and the names of what is asked for. */
function vgg16(): { bytes: Uint8Array; layer: string; targets: string[]; output: string } {
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
  return {
    bytes: encodeModel(net.spec(layer, fc6, fc7, output)),
    layer,
    targets: [fc6, fc7],
    output,
  };
}

const folder = await mkdtemp(join(tmpdir(), 'partlens-bench-'));
const threads = availableParallelism();
try {
  const { bytes, layer, targets, output } = vgg16();
  const path = join(folder, 'vgg16.onnx');
  await writeFile(path, bytes);
  const images = randomImages(BATCH, SIZE);
  const performer = await loadPerformer(path, {
    ...{ layer, targets, output, batch: BATCH, threads, backend: 'cpu' },
    preprocessing: { size: SIZE, mean: [0, 0, 0], std: [1, 1, 1], channels: 'RGB', scale: 1 },
  });
  const bodies = new Map<string, Body>();
  bodies.set(OURS, (count) => timed(count, () => performer.features(images, BATCH)));

  const runtime = await loadOnnxRuntime();
  let error = NaN;
  if (runtime) {
    const session = await runtime.InferenceSession.create(path, {
      intraOpNumThreads: threads,
      logSeverityLevel: 3,
    });
    const feeds = { image: new runtime.Tensor('float32', images, [BATCH, 3, SIZE, SIZE]) };
    const [ours, theirs] = [await performer.features(images, BATCH), await session.run(feeds)];
    error = relativeError(ours.output, theirs[output]?.data as Float32Array);
    if (!(error < AGREE)) throw new Error(`outputs differ by ${error.toExponential(1)}`);
    bodies.set('onnxruntime', (count) => timed(count, () => session.run(feeds)));
  } else console.log('onnxruntime-node is not installed: ours alone.');

  const rows = rowsOf(await alternate(bodies, ROUNDS));
  const about = `VGG-16 with FC layers of 1024, ${String(BATCH)} images of ${String(SIZE)} pixels, ${String(threads)} threads; outputs differ by ${error.toExponential(0)}.`;
  console.log(await writeTable('inference', about, times(`${String(BATCH)} images`, rows)));
  performer.dispose();
} finally {
  await rm(folder, { recursive: true, force: true });
}
