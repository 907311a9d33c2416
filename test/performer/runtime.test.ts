import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import {
  AttributeSchema,
  DataType,
  GraphSchema,
  ModelSchema,
  NodeSchema,
  type ModelProto,
} from '../../lib/performer/onnx_proto.js';
import { buildModel, encodeModel } from '../../lib/performer/onnx_write.js';
import {
  createOnnxRuntimeRunner,
  describeValues,
  type OnnxRuntimeOptions,
  type RuntimeProgram,
  type TensorRef,
} from '../../lib/performer/runtime/index.js';
import { packWeights } from '../../lib/performer/runtime/weights.js';
import { alexNet, NetBuilder, randomImages, resNet, smallNet } from '../support/onnx_models.js';
import { loadOnnxRuntime, relativeError, runOnnxRuntime } from '../support/onnxruntime.js';
import { failure, inFolder } from '../support/performer.js';
import { LOADER, moduleFile } from '../support/source.js';

type Net = Awaited<ReturnType<typeof createOnnxRuntimeRunner>>;

const ref = (name: string, tensor: string, ...dims: number[]): TensorRef => ({
  name,
  tensor,
  dims,
});
/** Programs of `smallNet`. */
const IMAGE = ref('x', 'image', 3, 8, 8);
const LOGITS = ref('output', 'logits', 5);
const whole: RuntimeProgram = { inputs: [IMAGE], outputs: [LOGITS] };

function open(
  model: ModelProto,
  programs: Record<string, RuntimeProgram>,
  options: OnnxRuntimeOptions = {},
): Promise<Net> {
  return createOnnxRuntimeRunner({ path: 'generated.onnx', model }, programs, {
    batch: 2,
    threads: 1,
    ...options,
  });
}

/** One output of one program that is called `p`. */
async function compute(
  model: ModelProto,
  program: RuntimeProgram,
  inputs: Record<string, Float32Array>,
  options: OnnxRuntimeOptions = {},
): Promise<Float32Array> {
  using runner = await open(model, { p: program }, options);
  const [output = LOGITS] = program.outputs;
  const got = await runner.run('p', { inputs, fetch: [output.name] });
  return got[output.name] ?? new Float32Array(0);
}

describe('onnxruntime runner', function () {
  before(async function () {
    if (await loadOnnxRuntime()) return;
    console.log('    skipped: onnxruntime-node is not installed');
    this.skip();
  });

  describe('cuts', () => {
    it('input -> layer and layer -> output are the whole, for any number of images', async () => {
      const { spec, size, layer, output } = alexNet();
      const images = randomImages(5, size);
      const expectedValues = await runOnnxRuntime(encodeModel(spec), images, {
        count: 5,
        size,
        batch: 1,
        names: [layer, output],
      });
      const maps = ref('layer', layer, 32, 7, 7);
      const result = ref('output', output, 10);
      using runner = await open(buildModel(spec), {
        features: { inputs: [ref('x', 'image', 3, size, size)], outputs: [maps, result] },
        tail: { inputs: [maps], outputs: [result] },
      });
      const got = await runner.run('features', {
        inputs: { x: images },
        fetch: ['output', 'layer'],
      });
      expect(relativeError(got['layer'] ?? [], expectedValues[layer] ?? [])).to.be.below(1e-5);
      expect(relativeError(got['output'] ?? [], expectedValues[output] ?? [])).to.be.below(1e-5);
      const given = { layer: got['layer'] ?? new Float32Array(0) };
      const tail = await runner.run('tail', { inputs: given, fetch: ['output'] });
      expect(relativeError(tail['output'] ?? [], expectedValues[output] ?? [])).to.be.below(1e-5);
      expect(runner.info()).to.deep.equal({ backend: 'onnxruntime', reason: '', threads: 1 });
    });

    it('the batch of the file is kept, and the last one filled up', async () => {
      for (const batch of [1, 4]) {
        const model = buildModel(smallNet({ batch }).spec('logits'));
        const images = randomImages(6, 8);
        using runner = await open(model, { p: whole });
        expect(runner.batch('p')).to.equal(batch);
        const { output } = await runner.run('p', { inputs: { x: images }, fetch: ['output'] });
        const free = await compute(buildModel(smallNet().spec('logits')), whole, { x: images });
        expect(relativeError(output ?? [], free)).to.be.below(1e-5);
      }
    });

    it('two inputs: a layer, and what bypasses it', async () => {
      const net = smallNet();
      net.node('Relu', 'bypass', ['image']);
      net.node('Add', 'sum', [net.conv('bypass', 'c', [4, 3, 1]), 'conv_relu']);
      const model = buildModel(net.spec('logits'));
      const maps = [ref('layer', 'conv_relu', 4, 8, 8), ref('bypass0', 'bypass', 3, 8, 8)];
      const sum = ref('output', 'sum', 4, 8, 8);
      const images = randomImages(2, 8);
      using runner = await open(model, {
        features: { inputs: [IMAGE], outputs: [...maps, sum] },
        tail: { inputs: maps, outputs: [sum] },
      });
      const fetch = ['layer', 'bypass0', 'output'];
      const { output, ...inputs } = await runner.run('features', { inputs: { x: images }, fetch });
      const tail = await runner.run('tail', { inputs, fetch: ['output'] });
      expect(relativeError(tail['output'] ?? [], output ?? [])).to.be.below(1e-6);
      await failure('E_SHAPE', /as many images for each input/, () =>
        runner.run('tail', {
          inputs: { ...inputs, layer: new Float32Array(256) },
          fetch: ['output'],
        }),
      );
    });

    it('a node of which one output is given and another is needed', async () => {
      const net = new NetBuilder({ size: 8, opset: 13 });
      net.nodes.push({
        opType: 'Split',
        name: 'split',
        inputs: ['image', net.ints('sizes', [1, 2])],
        outputs: ['grey', 'rest'],
        attributes: { axis: 1 },
      });
      net.node('Add', 'sum', ['grey', 'rest']);
      const images = randomImages(2, 8);
      const grey = new Float32Array(2 * 64).fill(1);
      const sum = await compute(
        buildModel(net.spec('sum')),
        { inputs: [IMAGE, ref('grey', 'grey', 1, 8, 8)], outputs: [ref('output', 'sum', 2, 8, 8)] },
        { x: images, grey },
      );
      expect(sum[0]).to.be.closeTo(1 + (images[64] ?? 0), 1e-6);
    });

    it('channels last: values cross as (C, H, W)', async () => {
      const net = new NetBuilder({ size: 8 });
      net.node('Transpose', 'nhwc/0', ['image'], { perm: [0, 2, 3, 1] });
      net.node('ReduceSum', 'rows', ['nhwc/0', net.ints('axes', [2])], { keepdims: 0 });
      const model = buildModel(net.spec('rows'));
      const images = randomImages(3, 8);
      const last: TensorRef = { ...ref('layer', 'nhwc/0', 8, 8, 3), permutation: [2, 0, 1] };
      const rows = ref('output', 'rows', 8, 3);
      const layer = await compute(model, { inputs: [IMAGE], outputs: [last] }, { x: images });
      expect(layer).to.deep.equal(images);
      const direct = await compute(model, { inputs: [IMAGE], outputs: [rows] }, { x: images });
      const tail = await compute(model, { inputs: [last], outputs: [rows] }, { layer });
      expect(tail).to.deep.equal(direct);
    });

    it('bytes and halves: converted, rounded and held to their range', async () => {
      const net = new NetBuilder({ size: 2 });
      net.node('Cast', 'half', ['image'], { to: DataType.FLOAT16 });
      net.node('Add', 'double', ['half', 'half']);
      const model = buildModel(net.spec('double'));
      const type = model.graph?.input[0]?.type?.tensorType;
      if (type) type.elemType = DataType.UINT8;
      const x = Float32Array.from({ length: 24 }, (_, i) => [1.6, 300, -5, 2.4][i % 4] ?? 0);
      const wanted = Array.from({ length: 24 }, (_, i) => [4, 510, 0, 4][i % 4]);
      const input = ref('x', 'image', 3, 2, 2);
      const [half, double] = [ref('layer', 'half', 3, 2, 2), ref('output', 'double', 3, 2, 2)];
      const direct = await compute(model, { inputs: [input], outputs: [double] }, { x });
      expect([...direct]).to.deep.equal(wanted);
      const layer = Float32Array.from(wanted, (value = 0) => value / 2);
      const tail = await compute(model, { inputs: [half], outputs: [double] }, { layer });
      expect([...tail]).to.deep.equal(wanted);
    });

    it('what graphs inside a node read from outside is kept', async () => {
      const net = smallNet();
      const model = buildModel(net.spec('chosen'));
      const branch = (opType: string): ModelProto['graph'] =>
        create(GraphSchema, {
          name: opType,
          node: [create(NodeSchema, { opType, input: ['conv_relu'], output: [`in ${opType}`] })],
          output: [{ name: `in ${opType}` }],
        });
      const attribute = (name: string, opType: string) =>
        create(AttributeSchema, { name, type: 5, g: branch(opType)! });
      const { node, initializer } = model.graph!;
      initializer.push({ ...initializer[0]!, name: 'yes', dims: [], dataType: DataType.BOOL });
      initializer.at(-1)!.rawData = Uint8Array.of(1);
      node.push(
        create(NodeSchema, {
          opType: 'If',
          input: ['yes'],
          output: ['chosen'],
          attribute: [attribute('then_branch', 'Neg'), attribute('else_branch', 'Relu')],
        }),
      );
      const decoded = toBinary(ModelSchema, model);
      const layer = Float32Array.from({ length: 512 }, (_, i) => i);
      using runner = await createOnnxRuntimeRunner(
        { path: 'if.onnx', model: decoded },
        {
          tail: {
            inputs: [ref('layer', 'conv_relu', 4, 8, 8)],
            outputs: [ref('output', 'chosen', 4, 8, 8)],
          },
        },
        { batch: 2 },
      );
      const { output } = await runner.run('tail', { inputs: { layer }, fetch: ['output'] });
      expect([...output!.subarray(1, 3)]).to.deep.equal([-1, -2]);
    });

    it('any name, the same value twice, and an output that is the input', async () => {
      const net = new NetBuilder({ size: 2 });
      net.node('Neg', 'partlens, "слой" 1/:0', ['image']);
      const model = buildModel(net.spec('partlens, "слой" 1/:0'));
      const a = ref('a', 'partlens, "слой" 1/:0', 3, 2, 2);
      const input = ref('x', 'image', 3, 2, 2);
      using runner = await open(model, {
        p: { inputs: [input], outputs: [a, { ...a, name: 'b' }, { ...input, name: 'same' }] },
      });
      const x = randomImages(1, 2);
      const got = await runner.run('p', { inputs: { x }, fetch: ['a', 'b', 'same'] });
      expect(got['a']).to.deep.equal(x.map((value) => -value));
      expect(got['b']).to.deep.equal(got['a']);
      expect(got['same']).to.deep.equal(x);
    });

    it('weights are shared by programs, and the model is left as it was', async () => {
      const { spec, layer } = alexNet();
      const model = buildModel(spec);
      const before = toBinary(ModelSchema, model);
      const { initializer } = model.graph!;
      const copies = [1, 2].map(() =>
        create(ModelSchema, { graph: { initializer: [...initializer] } }),
      );
      const files = await packWeights(copies);
      const large = model.graph!.initializer.filter(({ rawData }) => rawData.length >= 1024);
      const bytes = large.reduce((sum, { rawData }) => sum + rawData.length, 0);
      const packed = files.reduce((sum, { data }) => sum + data.length, 0);
      expect(packed).to.be.within(bytes, bytes + 64 * large.length);
      expect(toBinary(ModelSchema, copies[1]!).length).to.be.below(before.length / 10);
      using runner = await open(model, {
        p: { inputs: [ref('x', 'image', 3, 131, 131)], outputs: [ref('layer', layer, 32, 7, 7)] },
      });
      expect(runner.batch('p')).to.equal(2);
      expect(toBinary(ModelSchema, model)).to.deep.equal(before);
    });

    it('weights beside the model', () =>
      inFolder(async (folder) => {
        const model = buildModel(smallNet().spec('logits'));
        const x = randomImages(2, 8);
        const inline = await compute(model, whole, { x });
        const weight = model.graph!.initializer.find(({ rawData }) => rawData.length > 1000)!;
        await writeFile(path.join(folder, 'w.bin'), weight.rawData);
        weight.rawData = new Uint8Array(0);
        weight.dataLocation = 1;
        weight.externalData = [
          { $typeName: 'onnx.StringStringEntryProto', key: 'location', value: 'w.bin' },
        ];
        const file = path.join(folder, 'model.onnx');
        await writeFile(file, toBinary(ModelSchema, model));
        using runner = await createOnnxRuntimeRunner({ path: file }, { p: whole });
        const got = await runner.run('p', { inputs: { x }, fetch: ['output'] });
        expect(got['output']).to.deep.equal(inline);
        await rm(path.join(folder, 'w.bin'));
        await failure('E_ONNX', /w\.bin/, () =>
          createOnnxRuntimeRunner({ path: file }, { p: whole }),
        );
      }));
  });

  describe('images are independent', () => {
    it('a batch of 1 that an exporter wrote into the graph', async () => {
      const net = smallNet();
      const maps = net.ints('shape', [1, 4, 64]);
      net.node('Reshape', 'fixed', ['conv_relu', maps]);
      net.node('ReduceMean', 'pooled', ['fixed'], { axes: [2], keepdims: 0 });
      const program = { inputs: [IMAGE], outputs: [ref('output', 'pooled', 4)] };
      const model = buildModel(net.spec('pooled'));
      using runner = await open(model, { p: program, q: whole });
      expect(runner.batch('p')).to.equal(1);
      expect(runner.batch('q')).to.equal(2);
      expect(runner.info().reason).to.match(/^p computes one image at a time/);
      const x = randomImages(3, 8);
      const { output } = await runner.run('p', { inputs: { x }, fetch: ['output'] });
      const alone = await compute(model, program, { x: x.subarray(2 * 192) }, { batch: 1 });
      expect(relativeError(output!.subarray(8), alone)).to.be.below(1e-6);
    });

    it('values that the batch mixes silently', async () => {
      const net = smallNet();
      const mean = net.node('ReduceMean', 'mean', ['logits'], { axes: [0], keepdims: 1 });
      net.node('Sub', 'centred', ['logits', mean]);
      const program = { inputs: [IMAGE], outputs: [ref('output', 'centred', 5)] };
      using runner = await open(buildModel(net.spec('centred')), { p: program });
      expect(runner.info().reason).to.match(/depend on the others of its batch/);
      const images = { x: randomImages(3, 8) };
      const { output } = await runner.run('p', { inputs: images, fetch: ['output'] });
      expect([...output!]).to.deep.equal(new Array(15).fill(0));
    });

    it('random numbers are refused', async () => {
      const net = smallNet();
      const noise = net.node('RandomNormalLike', 'noise', ['logits']);
      net.node('Add', 'noisy', ['logits', noise]);
      const program = { inputs: [IMAGE], outputs: [ref('output', 'noisy', 5)] };
      await failure('E_ONNX', /program p .*change from run to run.*eval\(\)/s, () =>
        open(buildModel(net.spec('noisy')), { p: program }),
      );
    });
  });

  describe('refusals', () => {
    const model = (): ModelProto => buildModel(smallNet().spec('logits'));

    it('names that the model has not, constants, and values of something else', async () => {
      const cut = (inputs: TensorRef[], outputs: TensorRef[]) => () =>
        open(model(), { p: { inputs, outputs } });
      const fc = ref('layer', 'fc', 6);
      await failure(
        'E_ARGUMENT',
        /"conv_rleu".*\n.*"conv_relu"/,
        cut([IMAGE], [ref('o', 'conv_rleu', 1)]),
      );
      await failure('E_ARGUMENT', /"fx"/, cut([ref('layer', 'fx', 6)], [LOGITS]));
      await failure(
        'E_ARGUMENT',
        /o of program p .*constant fc\.w/,
        cut([IMAGE], [ref('o', 'fc.w', 64)]),
      );
      await failure('E_ARGUMENT', /constant fc\.w/, cut([ref('x', 'fc.w', 64)], [LOGITS]));
      await failure(
        'E_ARGUMENT',
        /computed from "fc".*needs image too/,
        cut([fc], [ref('o', 'conv', 256)]),
      );
      using runner = await open(model(), { p: whole });
      const x = randomImages(1, 8);
      await failure('E_ARGUMENT', /program .*"q"/, () =>
        runner.run('q', { inputs: { x }, fetch: [] }),
      );
      await failure('E_ARGUMENT', /"y"/, () => runner.run('p', { inputs: { x }, fetch: ['y'] }));
      await failure('E_SHAPE', /192 values/, () =>
        runner.run('p', { inputs: { x: x.subarray(1) }, fetch: ['output'] }),
      );
    });

    it('wrong sizes, bytes that are no model, and ops that nobody knows', async () => {
      await failure('E_SHAPE', /\(1, 7\) for output .* \(1, 5\)/, () =>
        open(model(), { p: { inputs: [IMAGE], outputs: [ref('output', 'logits', 7)] } }),
      );
      await failure('E_ONNX', /an ONNX model/, () =>
        createOnnxRuntimeRunner({ path: 'a', model: Uint8Array.of(1, 2, 3) }, { p: whole }),
      );
      await failure('E_FILE', /ENOENT/, () =>
        createOnnxRuntimeRunner({ path: '/nowhere.onnx' }, { p: whole }),
      );
      const strange = smallNet();
      strange.node('Frobnicate', 'y', ['logits']);
      await failure('E_BACKEND', /Frobnicate/, () =>
        open(buildModel(strange.spec('y')), {
          p: { inputs: [IMAGE], outputs: [ref('output', 'y', 5)] },
        }),
      );
    });

    it('a missing peer says how to install it', async () => {
      const told = /npm install onnxruntime-node@1\.30\.0\n.*ONNXRUNTIME_NODE_INSTALL=skip/;
      const module = 'onnxruntime-node-that-nobody-has';
      const error = await failure('E_BACKEND', told, () => open(model(), { p: whole }, { module }));
      expect(error.details['missing']).to.equal(module);
    });

    it('a thread that ends rejects and leaves the process alive', async () => {
      const module = 'data:text/javascript,process.exit(3)';
      await failure('E_BACKEND', /ended with code 3/, () =>
        open(model(), { p: whole }, { module }),
      );
      const thrown =
        'data:text/javascript,setTimeout(()=>{throw new Error("crash")});await 0;'.concat(
          'await new Promise(()=>{})',
        );
      await failure('E_BACKEND', /crash/, () => open(model(), { p: whole }, { module: thrown }));
    });
  });

  describe('worker thread', () => {
    it('leaves the event loop free', async () => {
      const net = new NetBuilder({ size: 224 });
      let x = net.conv('image', 'c0', [64, 3, 3], { pads: [1, 1, 1, 1] });
      for (const i of [1, 2, 3]) {
        x = net.conv(x, `c${i}`, [64, 64, 3], { pads: [1, 1, 1, 1] });
      }
      net.node('GlobalAveragePool', 'pooled', [x]);
      const program = {
        inputs: [ref('x', 'image', 3, 224, 224)],
        outputs: [ref('output', 'pooled', 64, 1, 1)],
      };
      using runner = await open(buildModel(net.spec('pooled')), { p: program }, { batch: 4 });
      const images = randomImages(4, 224);
      let ticks = 0;
      const timer = setInterval(() => ticks++, 5);
      const start = performance.now();
      await runner.run('p', { inputs: { x: images }, fetch: ['output'] });
      const took = performance.now() - start;
      clearInterval(timer);
      expect(took).to.be.above(60);
      expect(ticks).to.be.above(took / 5 / 4);
    });

    it('ends with dispose; what waits is rejected', async () => {
      const threads = (): number => readdirSync('/proc/self/task').length;
      const { spec, size, output } = resNet();
      const program = {
        inputs: [ref('x', 'image', 3, size, size)],
        outputs: [ref('output', output, 10)],
      };
      const linux = process.platform === 'linux';
      const before = linux ? threads() : 0;
      for (let i = 0; i < 3; i++) {
        const runner = await open(buildModel(spec), { p: program });
        const x = randomImages(50, size);
        const pending = runner.run('p', { inputs: { x }, fetch: ['output'] });
        const rejected = failure('E_STATE', /disposed/, () => pending);
        await sleep(10);
        runner.dispose();
        runner.dispose();
        await rejected;
        await failure('E_STATE', /disposed/, () =>
          runner.run('p', { inputs: { x }, fetch: ['output'] }),
        );
      }
      for (let i = 0; linux && threads() > before && i < 100; i++) await sleep(50);
      if (linux) expect(threads()).to.be.at.most(before);
    });

    it('lets an idle process end', () =>
      inFolder(async (folder) => {
        const file = path.join(folder, 'model.onnx');
        await writeFile(file, encodeModel(smallNet().spec('logits')));
        const script = `
          const { createOnnxRuntimeRunner } = await import(${JSON.stringify(moduleFile('lib/performer/runtime/index'))});
          const runner = await createOnnxRuntimeRunner({ path: ${JSON.stringify(file)} }, { p: ${JSON.stringify(whole)} });
          const { output } = await runner.run('p', { inputs: { x: new Float32Array(192) }, fetch: ['output'] });
          console.log(output.length);`;
        const child = spawnSync(
          process.execPath,
          [...LOADER, '--input-type=module', '--eval', script],
          { encoding: 'utf8', timeout: 60_000 },
        );
        expect(child.stderr).to.equal('');
        expect([child.status, child.stdout]).to.deep.equal([0, '5\n']);
      }));
  });

  describe('describeValues', () => {
    it('gives sizes and types of every tensor, and leaves others out', async () => {
      const net = smallNet({ batch: 'N' });
      net.node('Cast', 'half', ['logits'], { to: DataType.FLOAT16 });
      net.node('SequenceConstruct', 'list', ['logits']);
      net.node('NonZero', 'where', ['conv_relu']);
      const model = buildModel(net.spec('logits'));
      model.graph!.input[0]!.type!.tensorType!.shape!.dim.forEach((dim, axis) => {
        if (axis >= 2) Object.assign(dim, { dimValue: 0n, dimParam: 'side' });
      });
      const found = await describeValues({ path: 'a', model }, { size: 8 });
      expect(found.get('conv')).to.deep.equal({ dims: [1, 4, 8, 8], elementType: 1 });
      expect(found.get('logits')).to.deep.equal({ dims: [1, 5], elementType: 1 });
      expect(found.get('half')).to.deep.equal({ dims: [1, 5], elementType: DataType.FLOAT16 });
      expect(found.get('where')?.dims[0]).to.equal(4);
      expect(found.has('list')).to.equal(false);
      expect(
        (await describeValues({ path: 'a', model }, { size: [8, 8], names: ['pool'] })).size,
      ).to.equal(1);
      await failure('E_ARGUMENT', /height and width are open/, () =>
        describeValues({ path: 'a', model }),
      );
    });

    it('takes a chain of 8000 nodes in seconds', async () => {
      const net = new NetBuilder({ size: 4 });
      let x = 'image';
      for (let i = 0; i < 8000; i++) x = net.node('Relu', `r${i}`, [x]);
      const found = await describeValues({ path: 'a', model: buildModel(net.spec(x)) });
      expect(found.size).to.equal(8000);
      expect(found.get(x)?.dims).to.deep.equal([1, 3, 4, 4]);
    }).timeout(30_000);
  });
});
