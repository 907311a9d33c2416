import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { listImages, readImages } from '../../lib/data/index.js';
import { exportOnnx } from '../../lib/export/index.js';
import { loadExplainer, type Explainer } from '../../lib/explainer.js';
import type { TrainOptionsInput } from '../../lib/explainer/options.js';
import {
  addPerformer,
  encodeModel,
  loadPerformer,
  OnnxBuilder,
} from '../../lib/performer/index.js';
import { decodeModel } from '../../lib/performer/onnx_wire.js';
import { temporaryFolder } from '../data/temporary.js';
import {
  C,
  FC1,
  FC2,
  N,
  SIDE,
  tinyPerformer,
  withExplainer,
  writeTiny,
} from '../explainer/tiny.js';
import {
  alexNet,
  NetBuilder,
  randomImages,
  resNet,
  squeezeNet,
  vgg,
  type GeneratedModel,
} from '../support/onnx_models.js';
import { loadOnnxRuntime, relativeError } from '../support/onnxruntime.js';
import { failure, PLAIN, withModel } from '../support/performer.js';

const TOLERANCE = 1e-4;

/** Runs a model from a file or bytes in onnxruntime. */
async function runModel(
  model: string | Uint8Array,
  input: Float32Array,
  dims: readonly number[],
): Promise<Record<string, { data: Float32Array; dims: readonly number[] }>> {
  const runtime = (await loadOnnxRuntime())!;
  const bytes = typeof model === 'string' ? await readFile(model) : model;
  const session = await runtime.InferenceSession.create(bytes, { intraOpNumThreads: 1 });
  const tensor = new runtime.Tensor('float32', input, dims);
  const results = await session.run({ [session.inputNames[0]!]: tensor });
  await session.release();
  return results as unknown as Record<string, { data: Float32Array; dims: readonly number[] }>;
}

describe('export: ONNX against onnxruntime', function () {
  before(async function () {
    if (await loadOnnxRuntime()) return;
    console.log('      skipped: onnxruntime-node is not installed');
    this.skip();
  });
  const folder = temporaryFolder();

  /** Trains on tiny data and gives the explainer with five photographs and one of nothing. */
  async function use(
    options: TrainOptionsInput & { pool?: boolean },
    body: (explainer: Explainer, images: Float32Array, count: number) => Promise<void>,
  ): Promise<void> {
    const { pool = true, ...rest } = { decoder: 'learned' as const, ...options };
    const tiny = await writeTiny(folder(), { pool });
    const performer = await tinyPerformer(tiny.model);
    const list = (await listImages(tiny.images)).images.slice(0, 5);
    const images = new Float32Array(6 * 3 * SIDE ** 2);
    for await (const { pixels } of readImages(list, performer.preprocessing)) images.set(pixels);
    try {
      const run = { performer, images: tiny.images, out: join(folder(), 'run'), ...rest };
      await withExplainer(run, (explainer) => body(explainer, images, 6));
    } finally {
      performer.dispose();
    }
  }

  const cases: [string, TrainOptionsInput & { pool?: boolean }][] = [
    ['as by default', {}],
    ['other sizes', { filters: 10, kernel: 5, beta: 2.5, normFloor: 0.9 }],
    ['without pooling', { pool: false }],
    ['without masks', { mask: false }],
    ['with appearance', { decoder: 'own', appearance: 5, gateRadius: 4 }],
    [
      'with appearance alone, photographs as they are, without pooling',
      {
        ...{ decoder: 'own', appearance: 5, ordinaryChannels: 0, imageNorm: 0 },
        ...{ pool: false, mask: false },
      },
    ],
  ];
  for (const [name, options] of cases) {
    it(`${name}: maps, encoding and rebuilt features of ours`, async () => {
      await use(options, async (explainer, images, count) => {
        const path = join(folder(), 'explainer.onnx');
        const told = await exportOnnx(explainer, path);
        const { layer } = await explainer.performer.features(images, count);
        layer.fill(0, 5 * C * N * N); // maps of one value everywhere: which cell is the peak?
        const D = explainer.config.network.filters;
        const q = options.pool === false ? N : N / 2;
        const { appearance = 0, ordinaryChannels, decoder } = explainer.config.options;
        const E = D + (appearance > 0 ? appearance + ordinaryChannels : 0);
        const own = decoder === 'own';
        const got = await runModel(path, layer, [count, C, N, N]);
        const wanted = await explainer.maps(layer, count);
        const shapes = Object.entries(got).map(([output, { dims }]) => [output, ...dims]);
        expect(shapes).to.deep.equal([
          ['part_maps_1', count, D, N, N],
          ['part_maps_2', count, D, N, N],
          ['masked_maps', count, D, N, N],
          ['x_enc', count, E, q, q],
          ...(own
            ? [['rebuilt_maps', count, C, q, q]]
            : [
                ['rebuilt_1', count, FC1],
                ['rebuilt_2', count, FC2],
              ]),
        ]);
        expect(told.outputs.map(({ name: output }) => output)).to.deep.equal(Object.keys(got));
        const near = (output: string, values: Float32Array): void => {
          expect(relativeError(got[output]!.data, values), output).to.be.below(TOLERANCE);
        };
        expect(Math.max(...wanted.layer2), 'some filter answers').to.be.above(0);
        near('part_maps_1', wanted.layer1);
        near('part_maps_2', wanted.layer2);
        wanted.rebuilt.forEach((values, l) => {
          near(own ? 'rebuilt_maps' : `rebuilt_${l + 1}`, values);
        });
        for (let n = 0; n < count; n++) {
          const { masked, interp, ordin } = await explainer.encode(
            layer.slice(n * C * N * N, (n + 1) * C * N * N),
          );
          const part = (output: string, size: number): Float32Array =>
            got[output]!.data.slice(n * size, (n + 1) * size);
          expect(relativeError(part('masked_maps', D * N * N), masked)).to.be.below(TOLERANCE);
          const { p } = explainer;
          const mixed = interp.map((value, i) => p * value + (1 - p) * ordin[i]!);
          expect(relativeError(part('x_enc', E * q * q), mixed)).to.be.below(TOLERANCE);
        }
      });
    });
  }

  it('fused: from the image to the part maps', async () => {
    await use({}, async (explainer, images, count) => {
      const path = join(folder(), 'fused.onnx');
      await exportOnnx(explainer, path, { fused: true });
      const got = await runModel(path, images, [count, 3, SIDE, SIDE]);
      expect(Object.keys(got)).to.deep.equal(['part_maps_1', 'part_maps_2', 'masked_maps']);
      const { layer } = await explainer.performer.features(images, count);
      const { layer1, layer2 } = await explainer.maps(layer, count);
      expect(relativeError(got['part_maps_1']!.data, layer1)).to.be.below(TOLERANCE);
      expect(relativeError(got['part_maps_2']!.data, layer2)).to.be.below(TOLERANCE);
      const one = await runModel(path, images.slice(0, 3 * SIDE ** 2), [1, 3, SIDE, SIDE]);
      expect(
        relativeError(one['part_maps_2']!.data, layer2.slice(0, layer2.length / 6)),
      ).to.be.below(TOLERANCE);
    });
  });

  for (const decoderKernel of [1, 3] as const) {
    it(`decoder own, kernel ${decoderKernel}: the maps that the later layers read`, async () => {
      await use({ decoder: 'own', decoderKernel }, async (explainer, images, count) => {
        const path = join(folder(), 'own.onnx');
        const { outputs } = await exportOnnx(explainer, path);
        const { name, channels, height, width } = explainer.performer.site;
        expect(name).to.equal('pool2');
        const last = outputs.at(-1);
        expect(last).to.deep.equal({ name: 'rebuilt_maps', dims: ['N', channels, height, width] });
        const { layer } = await explainer.performer.features(images, count);
        const got = await runModel(path, layer, [count, C, N, N]);
        const { rebuilt } = await explainer.maps(layer, count);
        expect(relativeError(got['rebuilt_maps']!.data, rebuilt[0]!)).to.be.below(TOLERANCE);
      });
    });
  }

  it('is opset 17, tells where it comes from, and gives the same bytes twice', async () => {
    await use({}, async (explainer) => {
      const [a, b] = ['a.onnx', 'b.onnx'].map((name) => join(folder(), name));
      await exportOnnx(explainer, a!);
      const loaded = await loadExplainer(explainer.run, { backend: 'cpu', threads: 2 });
      await exportOnnx(loaded, b!);
      loaded.dispose();
      const bytes = await readFile(a!);
      expect(bytes.equals(await readFile(b!))).to.equal(true);
      const model = decodeModel(bytes, a!);
      expect(model.opsetImport).to.deep.include.members([
        { ...model.opsetImport[0]!, domain: '', version: 17n },
      ]);
      const metadata = new Map(model.metadataProps.map(({ key, value }) => [key, value]));
      expect(metadata.get('layer')).to.equal('conv2_relu');
      expect(JSON.parse(metadata.get('targets') ?? '')).to.deep.equal(['fc1_relu', 'fc2_relu']);
      expect(Number(metadata.get('p'))).to.equal(explainer.p);
      expect(JSON.parse(metadata.get('network') ?? '')).to.deep.include({
        height: N,
        width: N,
        channels: C,
      });
    });
  });

  it('a performer that changed on disk is refused', async () => {
    await use({}, async (explainer) => {
      const { path } = explainer.performer;
      await writeTiny(folder(), { pool: false });
      await failure('E_STATE', /tiny\.onnx has changed/, () =>
        exportOnnx(explainer, join(folder(), 'fused.onnx'), { fused: true }),
      );
      expect(path).to.include('tiny.onnx');
    });
  });

  /** What the other networks lack: Clip, average pooling that counts its padding. */
  const odd = (): GeneratedModel => {
    const net = new NetBuilder({ size: 16, opset: 11, seed: 4 });
    let x = net.conv('image', 'conv1', [6, 3, 3], { pads: [1, 0, 1, 2] });
    const bounds = [-0.3, 0.8].map((value, i) => net.weight(`bound${i}`, [], () => value));
    x = net.node('Clip', 'clipped', [x, ...bounds]);
    x = net.node('AveragePool', 'averaged', [x], {
      ...{ kernel_shape: [3, 2], strides: [1, 1], pads: [1, 1, 1, 0], count_include_pad: 1 },
    });
    x = net.relu(net.conv(x, 'conv2', [8, 6, 3], { pads: [1, 1, 1, 1] }));
    const flat = net.node('Flatten', 'flat', [net.maxPool(x, 'pool', 2)]);
    net.gemm(net.relu(net.gemm(flat, 'fc', [6, 512])), 'logits', [4, 6]);
    const cut = { layer: 'conv2_relu', targets: ['fc_relu'], output: 'logits' };
    return { spec: net.spec('logits'), size: 16, ...cut };
  };

  for (const [name, make] of Object.entries({ alexNet, vgg, squeezeNet, resNet, odd })) {
    it(`${name} to its layer, from its own opset to 17`, async () => {
      const { spec, size, layer, targets } = make();
      await withModel(encodeModel(spec), async (file) => {
        const performer = await loadPerformer(file, {
          ...{ layer, targets, batch: 2, backend: 'cpu', preprocessing: PLAIN },
        });
        const builder = new OnnxBuilder();
        const output = await addPerformer(builder, performer, 'image');
        const { channels, height, width } = performer.layer;
        const bytes = encodeModel({
          opset: 17,
          inputs: [{ name: 'image', dims: ['N', 3, size, size] }],
          outputs: [{ name: output, dims: ['N', channels, height, width] }],
          nodes: builder.nodes,
          initializers: builder.initializers,
        });
        const images = randomImages(3, size);
        const got = await runModel(bytes, images, [3, 3, size, size]);
        const { layer: wanted } = await performer.features(images, 3);
        performer.dispose();
        expect(relativeError(got[output]!.data, wanted)).to.be.below(TOLERANCE);
      });
    });
  }
});
