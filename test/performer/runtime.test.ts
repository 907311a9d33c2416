import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
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
  type TensorRef,
} from '../../lib/performer/runtime/index.js';
import { packWeights } from '../../lib/performer/runtime/weights.js';
import { alexNet, NetBuilder, randomImages, smallNet } from '../support/onnx_models.js';
import { relativeError, runOnnxRuntime } from '../support/onnxruntime.js';
import { failure, inFolder } from '../support/performer.js';
import { compute, IMAGE, needOnnxRuntime, open, ref, whole } from '../support/runtime.js';

describe('onnxruntime runner', () => {
  before(needOnnxRuntime);

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
