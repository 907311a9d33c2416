import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { inspectModel } from '../../lib/performer/inspect.js';
import { AttributeSchema, AttributeType, ModelSchema } from '../../lib/performer/onnx_proto.js';
import { buildModel, encodeModel, type ModelSpec } from '../../lib/performer/onnx_write.js';
import { loadPerformer, type Performer } from '../../lib/performer/index.js';
import { readOnnx } from '../../lib/performer/onnx_read.js';
import { loadValues } from '../../lib/performer/values.js';
import type { Preprocessing } from '../../lib/performer/preprocessing.js';
import { withRuntime } from '../../lib/performer/with_runtime.js';
import { NetBuilder, randomImages, randomNumbers } from '../support/onnx_models.js';
import { loadOnnxRuntime, relativeError } from '../support/onnxruntime.js';
import { failure, PLAIN, withModel } from '../support/performer.js';

const CASES = '../shared/cases/onnx';
const SIZE = 16;

/** Files that both runtimes refuse: training mode. */
const REFUSED = new Set(['bn_training_mode.onnx', 'dropout_training_true.onnx']);

/** Files that end in an index, which onnxruntime alone gives. */
const INDEX = new Set(['output_argmax.onnx']);

/** Largest differences that have a reason; the others agree to 1e-4 of the largest value. */
const LOOSE: Readonly<Record<string, number>> = {
  'fp16_keep_io.onnx': 2e-3, // half precision
  'fp16_whole.onnx': 2e-3, // half precision
  'int8_qdq.onnx': 5e-2, // read as its float meaning by partlens
};

/** A complete preprocessing for any number of channels. */
function preprocessingOf(channels: number, size: Preprocessing['size']): Preprocessing {
  const order = channels === 1 ? 'grey' : channels === 4 ? 'RGBA' : 'RGB';
  const each = (value: number) => Array.from({ length: channels }, () => value);
  return { ...PLAIN, scale: 1, size, supersample: 1, channels: order, mean: each(0), std: each(1) };
}

/** Every value of a performer for two images, also through its later layers alone. */
async function valuesOf(performer: Performer): Promise<Float32Array[]> {
  const { channels, height, width } = performer.input;
  const next = randomNumbers(3); // whole numbers, which bytes can hold
  const images = Float32Array.from({ length: 2 * channels * height * width }, () =>
    Math.floor(8 * next()),
  );
  const { layer, bypass, targets, output } = await performer.features(images, 2);
  const site = await performer.siteMaps(layer, 2);
  const answer = await performer.tail(site, bypass, 2);
  return [layer, ...bypass, ...targets, output, site, ...answer.targets, answer.output];
}

/** The largest difference of both runtimes at the proposed layer; undefined where none is proposed. */
async function difference(file: string): Promise<number | undefined> {
  const given = { preprocessing: { size: SIZE }, runtime: 'onnxruntime' } as const;
  const { proposal, input, output } = await inspectModel(file, given);
  if (!proposal) return undefined;
  const options = {
    ...{ output, layer: proposal.layer, batch: 2 },
    ...(proposal.targets.length > 0 ? { targets: proposal.targets } : {}),
    preprocessing: preprocessingOf(input.channels, [input.height, input.width]),
  };
  using native = await loadPerformer(file, { ...options, runtime: 'native' });
  using foreign = await loadPerformer(file, { ...options, runtime: 'onnxruntime' });
  expect(foreign.runtime).to.deep.equal({ name: 'onnxruntime', reason: 'asked for' });
  const [a, b] = [await valuesOf(native), await valuesOf(foreign)];
  return Math.max(...a.map((values, i) => relativeError(b[i] ?? [], values)));
}

describe('performer: by partlens and by onnxruntime', function () {
  this.timeout(900_000);

  before(async function () {
    if (await loadOnnxRuntime()) return;
    console.log('      skipped: onnxruntime-node is not there');
    this.skip();
  });

  it('gives the same values by both, for files of many exporters', async function () {
    if (!existsSync(CASES)) {
      console.log(`      skipped: ${CASES} is not there`);
      this.skip();
    }
    const names = readdirSync(CASES).filter((name) => name.endsWith('.onnx'));
    const files = names.filter((name) => !REFUSED.has(name) && !INDEX.has(name));
    const errors = new Map<string, number>();
    for (const name of files) {
      const error = await difference(path.join(CASES, name));
      if (error !== undefined) errors.set(name, error);
    }
    const wrong = [...errors].filter(([name, error]) => !(error <= (LOOSE[name] ?? 1e-4)));
    expect(wrong).to.deep.equal([]);
    expect(errors.size).to.be.above(50);
  });

  /** A network with an op that the engine has not, behind the first layers. */
  const upsampling = (): NetBuilder => {
    const net = new NetBuilder({ size: SIZE });
    const x = net.relu(net.conv('image', 'conv1', [8, 3, 3], { pads: [1, 1, 1, 1] }));
    const y = net.relu(
      net.conv(net.maxPool(x, 'pool1', 2), 'conv2', [6, 8, 3], { pads: [1, 1, 1, 1] }),
    );
    const up = net.node('ConvTranspose', 'up', [y, net.weight('up.w', [6, 4, 2, 2])], {
      strides: [2, 2],
    });
    const mean = net.node('GlobalAveragePool', 'gap', [net.relu(up)]);
    net.gemm(net.node('Flatten', 'flat', [mean]), 'logits', [5, 4]);
    return net;
  };
  const bytes = encodeModel(upsampling().spec('logits'));
  const preprocessing = preprocessingOf(3, SIZE);

  it('takes onnxruntime where an op is missing, and says which', async () => {
    await withModel(bytes, async (file) => {
      const found = await inspectModel(file);
      expect(found.runtime.name).to.equal('onnxruntime');
      expect(found.runtime.reason).to.equal('partlens does not compute ConvTranspose "up_node"');
      const sizes = found.layers.map(({ name, height }) => [name, height]);
      expect(sizes).to.deep.include(['up', 16]).and.to.deep.include(['conv2_relu', 8]);
      const up = found.layers.find(({ name }) => name === 'up');
      expect(up?.geometry.stride).to.deep.equal([1, 1]);
      using performer = await loadPerformer(file, { layer: 'conv2_relu', preprocessing });
      expect(performer.tailPart).to.equal(undefined);
      expect(performer.info().backend).to.equal('onnxruntime');
      const images = randomImages(3, SIZE);
      const { layer, output } = await performer.features(images, 3);
      const again = await performer.tail(await performer.siteMaps(layer, 3), [], 3);
      expect(relativeError(again.output, output)).to.be.below(1e-5);
      const values = ['up', 'logits'];
      using all = await loadValues(file, { values, preprocessing, batch: 3 });
      expect(all.values.map(({ shape }) => shape)).to.deep.equal([[4, 16, 16], [5]]);
      expect(relativeError((await all.run(images, 3))[1] ?? [], output)).to.be.below(1e-5);
    });
  });

  it('reads by itself what lies before the op', async () => {
    await withModel(bytes, async (file) => {
      using all = await loadValues(file, { values: ['conv2_relu'], preprocessing });
      expect(all.info().backend).to.equal('cpu');
    });
  });

  it('refuses such an op where partlens alone was asked for', async () => {
    await withModel(bytes, async (file) => {
      const load = (runtime: 'native') => loadPerformer(file, { preprocessing, runtime });
      await failure('E_ONNX', /node "up_node" \(ConvTranspose/, () => load('native'));
      const wrong = { preprocessing, runtime: 'tflite' as 'native' };
      await failure('E_ARGUMENT', /one of auto, native, onnxruntime/, () =>
        loadPerformer(file, wrong),
      );
    });
  });

  it('says which ops are missing, and what to install, where onnxruntime is not there', async () => {
    await withModel(bytes, async (file) => {
      const model = await readOnnx(file);
      const asked = { names: ['logits'], size: undefined, module: 'no-such-runtime' };
      const error = await failure('E_ONNX', /npm install onnxruntime-node \(any/, () =>
        withRuntime(model, { ...asked, runtime: 'auto' }, (lower) => lower(['logits'])),
      );
      expect(error.message).to.match(
        /node "up_node" \(ConvTranspose.*Op types .*: ConvTranspose\./s,
      );
      await failure('E_BACKEND', /no-such-runtime cannot be loaded/, () =>
        withRuntime(model, { ...asked, runtime: 'onnxruntime' }, (lower) => lower(['logits'])),
      );
    });
  });

  it('tells what onnxruntime refuses, too', async () => {
    const net = upsampling();
    net.node('NoSuchOp', 'odd', ['logits']);
    await withModel(encodeModel(net.spec('odd')), async (file) => {
      await failure(
        'E_ONNX',
        /node "up_node" \(ConvTranspose.*onnxruntime refuses the model, too: .*NoSuchOp/s,
        () => loadPerformer(file, { preprocessing }),
      );
    });
  });

  it('sees what the body of a loop reads from outside', async () => {
    const net = upsampling();
    net.node('Loop', 'looped', [net.ints('turns', [2], []), '', 'logits']);
    const proto = buildModel(net.spec('looped'));
    // Each turn adds the mean of the first maps, which nobody else reads.
    const extra = buildModel(
      ((): ModelSpec => {
        const other = new NetBuilder({ size: SIZE });
        const gap = other.node('ReduceMean', 'gap0', ['conv1_relu'], {
          axes: [1, 2, 3],
          keepdims: 0,
        });
        return other.spec(other.node('Unsqueeze', 'column', [gap, other.ints('one', [1])]));
      })(),
    );
    const info = (name: string, elemType: number, dims: number): object => ({
      name,
      type: {
        tensorType: { elemType, shape: { dim: Array.from({ length: dims }, () => ({})) } },
      },
    });
    const body = {
      name: 'body',
      node: [
        { opType: 'Identity', input: ['go'], output: ['go2'] },
        { opType: 'Add', input: ['v', 'column'], output: ['v2'] },
      ],
      input: [info('turn', 7, 0), info('go', 9, 0), info('v', 1, 2)],
      output: [info('go2', 9, 0), info('v2', 1, 2)],
    };
    const { graph } = proto;
    const loop = graph?.node.find(({ opType }) => opType === 'Loop');
    loop?.attribute.push(
      create(AttributeSchema, { name: 'body', type: AttributeType.GRAPH, g: body }),
    );
    const at = graph?.node.indexOf(loop ?? graph.node[0]!) ?? 0;
    graph?.node.splice(at, 0, ...(extra.graph?.node ?? []));
    graph?.initializer.push(...(extra.graph?.initializer ?? []));
    await withModel(toBinary(ModelSchema, proto), async (file) => {
      using performer = await loadPerformer(file, { layer: 'conv2_relu', preprocessing });
      expect(performer.bypass.map(({ name }) => name)).to.deep.equal(['conv1_relu']);
      const images = randomImages(2, SIZE);
      const { layer, bypass, output } = await performer.features(images, 2);
      const { output: again } = await performer.tail(await performer.siteMaps(layer, 2), bypass, 2);
      expect(relativeError(again, output)).to.be.below(1e-5);
    });
  });

  it('cuts around values that it cannot hold, back to the image', async () => {
    const net = upsampling();
    // A sequence that the tail reads beside the layer.
    const gap = net.node('GlobalAveragePool', 'gap0', ['conv1_relu']);
    const list = net.node('SequenceConstruct', 'list', [gap]);
    const first = net.node('SequenceAt', 'first', [list, net.ints('zero', [0], [])]);
    const flat = net.node('Flatten', 'flat0', [first]);
    net.gemm(net.node('Concat', 'both', ['logits', flat], { axis: 1 }), 'joined', [3, 13]);
    await withModel(encodeModel(net.spec('joined')), async (file) => {
      using performer = await loadPerformer(file, { layer: 'conv2_relu', preprocessing });
      const images = randomImages(2, SIZE);
      const { layer, bypass, output } = await performer.features(images, 2);
      expect(performer.bypass).to.have.length.above(0);
      const { output: again } = await performer.tail(await performer.siteMaps(layer, 2), bypass, 2);
      expect(relativeError(again, output)).to.be.below(1e-5);
    });
  });
});
