import { expect } from 'chai';
import { lowerModel } from '../../lib/performer/lower.js';
import { layerInfo } from '../../lib/performer/layer_info.js';
import { editDistance, nearest } from '../../lib/performer/nearest.js';
import { parseModel } from '../../lib/performer/onnx_read.js';
import { buildModel, type ModelSpec } from '../../lib/performer/onnx_write.js';
import type { NetValue, Network } from '../../lib/performer/network.js';
import { chooseOutput } from '../../lib/performer/outputs.js';
import { explainableLayers, propose } from '../../lib/performer/propose.js';
import { bypassOf, joints, readersOf, siteOf } from '../../lib/performer/tail.js';
import { selectCut, type Cut, type CutNames } from '../../lib/performer/select.js';
import {
  alexNet,
  NetBuilder,
  resNet,
  smallNet,
  squeezeNet,
  vgg,
  type GeneratedModel,
} from '../support/onnx_models.js';
import { failure } from '../support/performer.js';

const model = (spec: ModelSpec) => parseModel(buildModel(spec), 'test.onnx', '');
const cutOf = (spec: ModelSpec, names: Partial<CutNames> = {}): Cut => {
  const output = chooseOutput(model(spec), names.output, { runtime: 'native', size: undefined });
  const lower = (wanted: readonly string[]) => lowerModel(model(spec), { wanted });
  return selectCut(model(spec), { ...names, output }, lower).cut;
};
const refused = (message: RegExp, spec: ModelSpec, names: Partial<CutNames>) =>
  failure('E_ARGUMENT', message, () => cutOf(spec, names));
const names = ({ layer, targets }: Cut) => [layer.name, targets.map(({ name }) => name)];

/** The network and a value of it. */
const networkOf = (spec: ModelSpec) => lowerModel(model(spec));
const named = (network: Network, name: string): NetValue => network.names.get(name)!;
const namesOf = (values: readonly NetValue[]): string[] => values.map(({ name }) => name);

describe('performer: which layers can be explained', () => {
  const cases: [string, () => GeneratedModel, string, string[]][] = [
    ['AlexNet', alexNet, 'conv5_relu', ['fc6_relu', 'fc8']],
    ['VGG', vgg, 'conv5_relu', ['fc6_relu', 'fc8']],
    ['SqueezeNet', squeezeNet, 'conv10_relu', ['flat']],
    ['ResNet', resNet, 'post_bn_relu', ['flat', 'logits']],
  ];
  for (const [title, make, layer, targets] of cases) {
    it(`proposes layer and targets of ${title}`, () => {
      const network = networkOf(make().spec);
      const proposal = propose(network, network.outputs[0]!);
      expect(proposal?.layer.name).to.equal(layer);
      expect(namesOf(proposal?.targets ?? [])).to.deep.equal(targets);
      for (const name of [layer, ...targets]) expect(proposal?.reason).to.include(`"${name}"`);
    });
  }

  it('takes every map of at least 4 x 4 cells that the output depends on', () => {
    const network = networkOf(resNet().spec);
    const [output] = network.outputs;
    const maps = network.values.filter(({ shape: [, h = 1, w = 1] }) => Math.min(h, w) >= 4);
    expect(namesOf(explainableLayers(network, output!))).to.deep.equal(namesOf(maps));
    expect(maps.length).to.be.above(5);
  });

  it('rebuilds behind the pooling that alone reads a layer, else the layer itself', () => {
    const { site, learned } = cutOf(alexNet().spec);
    expect(site.value.name).to.equal('pool5');
    expect(site.pool).to.deep.include({ kernel: [3, 3], stride: [2, 2], pad: [0, 0, 0, 0] });
    expect(learned).to.deep.equal({ pool: site.pool });
    expect(cutOf(vgg().spec, { layer: 'pool5' }).site).to.deep.include({ pool: undefined });
    const network = networkOf(squeezeNet().spec);
    const two = network.values.find((one) => readersOf(network, one).length > 1)!;
    expect(siteOf(network, two)).to.deep.equal({ value: two, pool: undefined });
  });

  it('a layer inside a block is bypassed by the value that its skip connection carries', () => {
    const { spec } = resNet();
    const cut = cutOf(spec, { layer: 'block1_a_bn_relu' });
    expect(namesOf(cut.bypass)).to.deep.equal(['pool1']);
    expect(namesOf(cutOf(spec, { layer: 'pool1' }).bypass)).to.deep.equal([]);
  });

  it('joints are what everything passes through', () => {
    const network = networkOf(resNet().spec);
    const [output] = network.outputs;
    const found = namesOf(joints(network, named(network, 'pool1'), output!));
    expect(found).to.include.members(['block1_relu', 'post_bn_relu', 'flat', 'logits']);
    expect(found).not.to.include('block1_a_bn_relu');
    for (const name of found) {
      const rest = bypassOf(network, named(network, name), [output!]);
      expect(namesOf(rest), name).to.deep.equal([]);
    }
  });

  it('the end of the next stage is a target of a layer in the middle', () => {
    const { spec } = vgg();
    expect(names(cutOf(spec, { layer: 'conv3_relu' }))[1]).to.deep.equal([
      'pool5',
      'fc6_relu',
      'fc8',
    ]);
  });

  it('for the decoder learned: the rectified fully connected features, with a reason where there are none', () => {
    const decoder = 'learned';
    const learned = (spec: ModelSpec, layer?: string) =>
      names(cutOf(spec, { decoder, ...(layer === undefined ? {} : { layer }) }));
    expect(learned(alexNet().spec)).to.deep.equal(['conv5_relu', ['fc6_relu', 'fc7_relu']]);
    expect(learned(vgg().spec)).to.deep.equal(['conv5_relu', ['fc6_relu', 'fc7_relu']]);
    expect(learned(resNet().spec)).to.deep.equal(['post_bn_relu', ['flat']]);
    expect(cutOf(squeezeNet().spec).learned).to.deep.equal({ pool: undefined });
  });

  it('proposes the logits of a network that has nothing else', () => {
    const net = new NetBuilder({ size: 8 });
    const x = net.maxPool(net.relu(net.conv('image', 'conv', [4, 3, 3])), 'pool', 2);
    net.gemm(net.node('Flatten', 'flat', [x]), 'logits', [5, 36]);
    expect(names(cutOf(net.spec('logits')))).to.deep.equal(['conv_relu', ['logits']]);
  });

  it('describes a layer: channels, cells, rectified or not, receptive field', () => {
    expect(layerInfo(cutOf(alexNet().spec).layer)).to.deep.equal({
      name: 'conv5_relu',
      node: 'conv5_relu_node',
      opType: 'Relu',
      channels: 32,
      height: 7,
      width: 7,
      relu: true,
      geometry: { stride: [16, 16], firstCentre: [15, 15], size: [163, 163] },
    });
    expect(layerInfo(cutOf(alexNet().spec, { layer: 'conv5' }).layer).relu).to.equal(false);
  });

  it('takes node names for value names, and fills in what is not named', () => {
    const { spec } = vgg();
    const all = { layer: 'conv5_relu_node', targets: ['fc6_relu_node'], output: 'fc8_node' };
    const cut = cutOf(spec, all);
    expect([...names(cut), cut.output.name]).to.deep.equal(['conv5_relu', ['fc6_relu'], 'fc8']);
    expect(names(cutOf(spec, { targets: ['fc7_relu'] }))).to.deep.equal([
      'conv5_relu',
      ['fc7_relu'],
    ]);
    expect(names(cutOf(spec, { layer: 'pool5' }))).to.deep.equal(['pool5', ['fc6_relu', 'fc8']]);
    const dropped = cutOf(alexNet().spec, { layer: 'conv5_relu', targets: ['drop6'] });
    expect(names(dropped)).to.deep.equal(['conv5_relu', ['fc6_relu']]); // drop6 passes fc6_relu on
  });
});

describe('performer: cuts that are refused', () => {
  it('lists the nearest names for a wrong one', async () => {
    const { spec } = vgg();
    const error = await refused(/Nearest names: "conv5_relu"/, spec, { layer: 'conv5-relu' });
    expect((error.details.nearest as string[])[0]).to.equal('conv5_relu');
    await refused(/Nearest names: "fc6_relu"/, spec, { targets: ['FC6_relu2'] });
    await refused(/Nearest names: "fc8"/, spec, { output: 'fc88' });
  });

  it('measures edit distance', () => {
    expect(editDistance('kitten', 'sitting')).to.equal(3);
    expect(editDistance('', 'abc')).to.equal(3);
    expect(nearest('relu', ['x', 'Relu', 'relu5', ''], 2)).to.deep.equal(['Relu', 'relu5']);
  });

  it('with the decoder learned: says what lies between a layer and the first fully connected one', async () => {
    const { spec } = alexNet();
    const decoder = 'learned';
    await refused(/"conv4_relu" cannot: .*Conv "conv5_node" lies between it/, spec, {
      ...{ decoder, layer: 'conv4_relu', targets: ['fc6_relu'] },
    });
    await refused(/LRN "norm1_node" lies between/, spec, {
      ...{ decoder, layer: 'conv1_relu', targets: ['fc6_relu'] },
    });
    await refused(/also depends on what bypasses it/, resNet().spec, {
      ...{ decoder, layer: 'block1_a_bn_relu', targets: ['flat'] },
    });
  });

  it('with the decoder learned: refuses a second pooling', async () => {
    const net = new NetBuilder({ size: 16 });
    const x = net.relu(net.conv('image', 'conv', [4, 3, 3], { pads: [1, 1, 1, 1] }));
    const pooled = net.maxPool(net.maxPool(x, 'pool1', 2), 'pool2', 2);
    net.gemm(net.node('Flatten', 'flat', [pooled]), 'logits', [5, 64]);
    const spec = net.spec('logits');
    const [layer, targets] = ['conv_relu', ['logits']];
    const decoder = 'learned';
    await refused(/MaxPool "pool2_node" .*a second pooling/, spec, { decoder, layer, targets });
    expect(names(cutOf(spec, { layer }))).to.deep.equal([layer, ['pool2', 'logits']]);
  });

  it('refuses maps of one cell and of few cells, not those that are not square', async () => {
    const net = new NetBuilder({ size: 8 });
    const x = net.relu(net.conv('image', 'conv', [4, 3, 8]));
    net.gemm(net.node('Flatten', 'flat', [x]), 'logits', [5, 4]);
    await refused(/no maps of more than one cell/, net.spec('logits'), { layer: 'conv_relu' });
    await refused(/a network with a layer that can be explained/, net.spec('logits'), {});
    const few = new NetBuilder({ size: 8 });
    few.gemm(
      few.node('Flatten', 'flat', [few.relu(few.conv('image', 'conv', [4, 3, 6]))]),
      'y',
      [5, 36],
    );
    await refused(/fewer than 4 x 4 cells/, few.spec('y'), { layer: 'conv_relu' });
    const wide = new NetBuilder({ size: 8 });
    wide.conv('image', 'conv', [4, 3, 3], { strides: [1, 2], pads: [1, 1, 1, 1] });
    wide.gemm(wide.node('Flatten', 'flat', ['conv']), 'y', [5, 128]);
    expect(cutOf(wide.spec('y'), { layer: 'conv' }).layer.shape).to.deep.equal([4, 8, 4]);
  });

  it('refuses targets out of order or that do not depend on what is rebuilt', async () => {
    const { spec } = vgg();
    const layer = 'conv5_relu';
    await refused(/computed from "pool5" for targets/, spec, { layer, targets: ['pool5'] });
    await refused(/computed from "pool5" for targets/, spec, { layer, targets: ['conv3'] });
    await refused(/order of the network/, spec, { layer, targets: ['fc7_relu', 'fc6_relu'] });
    await refused(/order of the network/, spec, { layer, targets: ['fc6_relu', 'fc6_relu'] });
    await refused(/at least one name/, spec, { layer, targets: [] });
    await refused(/computed from "late_relu" for targets.*fc6_relu/, smallWithTail(), {
      layer: 'late_relu',
      targets: ['fc6_relu'],
      output: 'late_logits',
    });
  });

  it('refuses layers that the output does not depend on', async () => {
    await refused(/"fc6_relu" does not depend on it/, smallWithTail(), {
      ...{ layer: 'late_relu', targets: ['late_logits'], output: 'fc6_relu' },
    });
  });

  it('wants one of several outputs to be named', async () => {
    const net = smallNet();
    await refused(/one of "fc", "logits" for output/, net.spec('fc', 'logits'), {});
    expect(cutOf(net.spec('fc', 'logits'), { output: 'logits' }).isModelOutput).to.equal(true);
  });
});

/** Two heads: fc6 from one convolution, `late_logits` from another. */
function smallWithTail(): ModelSpec {
  const net = new NetBuilder({ size: 8 });
  const early = net.relu(net.conv('image', 'conv', [4, 3, 3], { pads: [1, 1, 1, 1] }));
  net.relu(net.gemm(net.node('Flatten', 'flat', [early]), 'fc6', [6, 256]));
  const late = net.relu(net.conv(early, 'late', [4, 4, 3], { pads: [1, 1, 1, 1] }));
  net.gemm(net.node('Flatten', 'late_flat', [late]), 'late_logits', [5, 256]);
  return net.spec('fc6_relu', 'late_logits');
}
