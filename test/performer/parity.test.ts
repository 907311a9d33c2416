import { existsSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { loadPerformer, type LoadPerformerOptions } from '../../lib/performer/index.js';
import {
  encodeModel,
  type AttributeValue,
  type ModelSpec,
} from '../../lib/performer/onnx_write.js';
import {
  alexNet,
  NetBuilder,
  randomImages,
  resNet,
  squeezeNet,
  vgg,
  type GeneratedModel,
} from '../support/onnx_models.js';
import { loadOnnxRuntime, relativeError, runOnnxRuntime } from '../support/onnxruntime.js';
import { PLAIN, withModel } from '../support/performer.js';

const TOLERANCE = 1e-4;
const SHARED = '../shared/models/vgg_animals.onnx';

interface Parity extends LoadPerformerOptions {
  size: number;
  /** Batch that the model declares, for onnxruntime. */
  fixedBatch?: number;
}

/** Loads `file` and compares features, targets computed from the layer, and head with onnxruntime. */
async function compare(file: string, bytes: Uint8Array, parity: Parity): Promise<void> {
  const { size, fixedBatch = 3, ...options } = parity;
  const count = 3;
  const performer = await loadPerformer(file, { batch: 2, backend: 'cpu', ...options });
  try {
    const images = randomImages(count, size);
    const got = await performer.features(images, count);
    const { layer, targets, output } = performer;
    const names = [...new Set([layer.name, ...targets.map(({ name }) => name), output.name])];
    const wanted = await runOnnxRuntime(bytes, images, { count, size, batch: fixedBatch, names });
    const near = (name: string, values: ArrayLike<number> | undefined): void => {
      const error = relativeError(values ?? [], wanted[name] ?? [1]);
      expect(error, `relative error of ${name}`).to.be.below(TOLERANCE);
    };
    near(layer.name, got.layer);
    near(output.name, got.output);
    const site = await performer.siteMaps(got.layer, count);
    const again = await performer.tail(site, got.bypass, count);
    near(output.name, again.output);
    for (const [i, { name }] of targets.entries()) {
      near(name, got.targets[i]);
      near(name, again.targets[i]);
    }
    if (typeof performer.learned === 'string') return;
    near(output.name, await performer.head(got.targets.at(-1) ?? got.layer, count));
  } finally {
    performer.dispose();
  }
}

function compareSpec(spec: ModelSpec, parity: Parity): Promise<void> {
  const bytes = encodeModel(spec);
  return withModel(bytes, (file) => compare(file, bytes, { preprocessing: PLAIN, ...parity }));
}

describe('performer: parity with onnxruntime', function () {
  before(async function () {
    if (await loadOnnxRuntime()) return;
    console.log('      skipped: onnxruntime-node is not installed');
    this.skip();
  });

  it('vgg_animals: layer, targets, logits', async function () {
    if (!existsSync(SHARED)) {
      console.log(`      skipped: ${SHARED} is not there`);
      this.skip();
    }
    await compare(SHARED, readFileSync(SHARED), { size: 112 });
  });

  const networks: [string, () => GeneratedModel][] = [
    ['AlexNet', alexNet],
    ['VGG', vgg],
    ['SqueezeNet', squeezeNet],
    ['ResNet', resNet],
  ];
  for (const [title, make] of networks) {
    it(`${title}-shaped: layer, targets, output`, async () => {
      const { spec, size, layer, targets } = make();
      const fixed = typeof spec.inputs[0]?.dims[0] === 'number' ? { fixedBatch: 1 } : {};
      await compareSpec(spec, { size, layer, targets, ...fixed });
    });
  }

  it('pre-activation layers and a single target', async () => {
    const { spec, size } = vgg();
    await compareSpec(spec, { size, layer: 'conv5', targets: ['fc6_relu'], output: 'fc8' });
  });

  describe('single nodes', () => {
    type Attributes = Record<string, AttributeValue>;
    /** conv -> the node -> ReLU -> FC; the node between input and the explained layer. */
    const node = (make: (net: NetBuilder, x: string) => string, size = 15, opset = 13) => {
      const net = new NetBuilder({ size, opset });
      const x = make(net, net.conv('image', 'first', [7, 3, 3], { pads: [1, 1, 1, 1] }));
      const layer = net.relu(net.conv(x, 'last', [5, 7, 1]));
      net.gemm(net.node('GlobalAveragePool', 'gap', [layer]), 'logits', [4, 5]);
      const nodes = net.nodes.map((one) =>
        one.opType === 'Gemm' ? { ...one, inputs: ['flat', ...one.inputs.slice(1)] } : one,
      );
      nodes.splice(-1, 0, {
        opType: 'Flatten',
        name: 'flat_node',
        inputs: ['gap'],
        outputs: ['flat'],
      });
      return compareSpec({ ...net.spec('logits'), nodes }, { size });
    };
    const pool = (opType: string, attributes: Attributes, opset = 13) =>
      node((net, x) => net.node(opType, 'y', [x], { strides: [2, 2], ...attributes }), 15, opset);
    const conv = (k: number, attributes: Attributes) =>
      node((net, x) => net.conv(x, 'y', [7, 7, k], attributes));
    const ones = [1, 1, 1, 1];

    it('MaxPool in ceil mode, with asymmetric pads, SAME and VALID', async () => {
      await pool('MaxPool', { kernel_shape: [2, 2], ceil_mode: 1 });
      await pool('MaxPool', { kernel_shape: [3, 2], pads: [1, 0, 2, 1] });
      await pool('MaxPool', { kernel_shape: [3, 3], auto_pad: 'SAME_UPPER' });
      await pool('MaxPool', { kernel_shape: [4, 4], auto_pad: 'SAME_LOWER' });
      await pool('MaxPool', { kernel_shape: [3, 3], auto_pad: 'VALID' });
      await pool('MaxPool', { kernel_shape: [3, 3], pads: ones, ceil_mode: 1, strides: [3, 3] });
    });

    it('AveragePool with and without its padding in the divisor', async () => {
      for (const include of [0, 1]) {
        const counted = { count_include_pad: include };
        await pool('AveragePool', { kernel_shape: [3, 3], pads: ones, ...counted });
        await pool('AveragePool', { kernel_shape: [3, 3], pads: [0, 1, 2, 1], ...counted });
        await pool('AveragePool', { kernel_shape: [4, 4], auto_pad: 'SAME_UPPER', ...counted });
      }
    });

    it('AveragePool in ceil mode', async () => {
      await pool('AveragePool', { kernel_shape: [2, 2], ceil_mode: 1 }, 19);
      await pool('AveragePool', { kernel_shape: [3, 3], pads: ones, ceil_mode: 1 }, 19);
      await pool('AveragePool', { kernel_shape: [2, 2], ceil_mode: 1, count_include_pad: 1 }, 19);
    });

    it('Conv with strides, asymmetric pads and auto_pad', async () => {
      await conv(5, { strides: [2, 3], pads: [2, 4, 1, 4] });
      await conv(4, { strides: [2, 2], auto_pad: 'SAME_UPPER' });
      await conv(4, { strides: [3, 3], auto_pad: 'SAME_LOWER' });
      await conv(3, { auto_pad: 'VALID' });
    });

    it('Clip as attributes and as inputs', async () => {
      const limits = { min: { float: 0 }, max: { float: 1 } };
      await node((net, x) => net.node('Clip', 'y', [x], limits), 9, 10);
      const inputs = (net: NetBuilder) => [
        net.weight('lo', [], () => -0.5),
        net.weight('hi', [], () => 0.5),
      ];
      await node((net, x) => net.node('Clip', 'y', [x, ...inputs(net)]), 9, 13);
    });

    it('LRN (onnxruntime takes odd windows only)', async () => {
      await node((net, x) => net.node('LRN', 'y', [x], { size: 3, alpha: 0.5, bias: 0.5 }), 9);
      await node((net, x) => net.node('LRN', 'y', [x], { size: 5, alpha: 0.5, beta: 0.6 }), 9);
    });

    it('arithmetic with one number for each channel, and batch normalization twice', async () => {
      await node((net, x) => {
        const added = net.node('Add', 'added', [x, net.weight('c1', [7, 1, 1])]);
        const times = net.node('Mul', 'times', [net.weight('c2', [1, 7, 1, 1]), added]);
        const less = net.node('Sub', 'less', [net.weight('c3', []), net.relu(times)]);
        return net.node('Div', 'over', [less, net.weight('c4', [1], () => 2.5)]);
      }, 9);
      await node((net, x) => net.batchNorm(net.batchNorm(x, 'bn1', 7), 'bn2', 7), 9);
    });

    it('Sum and Concat of three, Identity, Cast, Squeeze and Unsqueeze of constants', async () => {
      await node((net, x) => {
        const a = net.conv(x, 'a', [2, 7, 1]);
        const b = net.conv(x, 'b', [2, 7, 3], { pads: ones });
        const c = net.relu(net.conv(x, 'c', [3, 7, 1]));
        const joined = net.node('Concat', 'joined', [a, b, c], { axis: -3 });
        const sum = net.node('Sum', 'sum', [joined, x, net.node('Identity', 'same', [x])]);
        return net.node('Cast', 'cast', [sum], { to: 1 });
      }, 9);
    });

    it('ReduceMean over height and width', async () => {
      const net = new NetBuilder({ size: 8 });
      const x = net.relu(net.conv('image', 'conv', [6, 3, 3]));
      const mean = net.node('ReduceMean', 'mean', [x], { axes: [2, 3], keepdims: 0 });
      net.gemm(mean, 'logits', [4, 6]);
      await compareSpec(net.spec('logits'), { size: 8 });
    });

    it('fully connected layers written as convolutions, Softmax over (N, C, 1, 1)', async () => {
      const net = new NetBuilder({ size: 16, opset: 11 });
      const x = net.maxPool(net.relu(net.conv('image', 'conv', [8, 3, 3])), 'pool', 2);
      const fc6 = net.relu(net.conv(x, 'fc6', [12, 8, 7]));
      net.node('Softmax', 'probability', [net.conv(fc6, 'fc7', [5, 12, 1])], { axis: 1 });
      await compareSpec(net.spec('probability'), { size: 16, targets: ['fc6_relu'] });
    });
  });
});
