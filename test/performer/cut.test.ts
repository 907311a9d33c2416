import { expect } from 'chai';
import { lowerModel } from '../../lib/performer/lower.js';
import { layerInfo } from '../../lib/performer/layer_info.js';
import { editDistance, nearest } from '../../lib/performer/nearest.js';
import { parseModel } from '../../lib/performer/onnx_read.js';
import { buildModel, type ModelSpec } from '../../lib/performer/onnx_write.js';
import { explainableLayers, propose } from '../../lib/performer/propose.js';
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
const cutOf = (spec: ModelSpec, names: CutNames = {}): Cut =>
  selectCut(model(spec), names, (wanted) => lowerModel(model(spec), { wanted })).cut;
const refused = (message: RegExp, spec: ModelSpec, names: CutNames) =>
  failure('E_ARGUMENT', message, () => cutOf(spec, names));
const names = ({ layer, targets }: Cut) => [layer.name, targets.map(({ name }) => name)];

describe('performer: which layers can be explained', () => {
  const cases: [string, () => GeneratedModel, string[]][] = [
    ['AlexNet', alexNet, ['conv5', 'conv5_relu']],
    ['VGG', vgg, ['conv5', 'conv5_relu', 'pool5']],
    ['SqueezeNet', squeezeNet, ['conv10', 'conv10_relu']],
    ['ResNet', resNet, ['post_bn', 'post_bn_relu']],
  ];
  for (const [title, make, layers] of cases) {
    it(`proposes layer and targets of ${title}`, () => {
      const { spec, layer, targets } = make();
      const network = lowerModel(model(spec));
      expect(explainableLayers(network).map((one) => one.layer.name)).to.deep.equal(layers);
      const proposal = propose(network);
      expect(proposal?.layer.name).to.equal(layer);
      expect(proposal?.targets.map(({ name }) => name)).to.deep.equal(targets);
      expect(proposal?.reason).to.include(JSON.stringify(targets[0]));
    });
  }

  it('says why it proposes pooled features where no rectified FC layer follows', () => {
    const proposal = propose(lowerModel(model(resNet().spec)));
    expect(proposal?.reason).to.match(
      /^No rectified fully connected layer follows "post_bn_relu": its pooled features "flat"/,
    );
  });

  it('proposes the logits of a network that has nothing else', () => {
    const net = new NetBuilder({ size: 8 });
    const x = net.maxPool(net.relu(net.conv('image', 'conv', [4, 3, 3])), 'pool', 2);
    net.gemm(net.node('Flatten', 'flat', [x]), 'logits', [5, 36]);
    expect(names(cutOf(net.spec('logits')))).to.deep.equal(['conv_relu', ['logits']]);
  });

  it('finds the pooling that the explainer repeats', () => {
    expect(cutOf(alexNet().spec).pool).to.deep.include({
      kernel: [3, 3],
      stride: [2, 2],
      pad: [0, 0, 0, 0],
      ceil: false,
    });
    expect(cutOf(vgg().spec, { layer: 'pool5' }).pool).to.equal(undefined);
    expect(cutOf(squeezeNet().spec).pool).to.equal(undefined); // average: the decoder takes it over
  });

  it('describes a layer: channels, side, rectified or not, receptive field', () => {
    expect(layerInfo(cutOf(alexNet().spec).layer)).to.deep.equal({
      name: 'conv5_relu',
      node: 'conv5_relu_node',
      opType: 'Relu',
      channels: 32,
      size: 7,
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
    expect(names(cutOf(spec, { layer: 'pool5' }))).to.deep.equal([
      'pool5',
      ['fc6_relu', 'fc7_relu'],
    ]);
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

  it('says what lies between a layer and the first fully connected one', async () => {
    const { spec } = alexNet();
    await refused(
      /"conv4_relu" cannot: Conv "conv5_node" lies between it .*can be explained: "conv5", "conv5_relu"/,
      spec,
      { layer: 'conv4_relu' },
    );
    await refused(/LRN "norm1_node" lies between/, spec, {
      layer: 'conv1_relu',
      targets: ['fc6_relu'],
    });
    await refused(/also depends on what bypasses it/, resNet().spec, {
      layer: 'block1_a_bn_relu',
    });
  });

  it('refuses a second pooling', async () => {
    const net = new NetBuilder({ size: 16 });
    const x = net.relu(net.conv('image', 'conv', [4, 3, 3], { pads: [1, 1, 1, 1] }));
    const pooled = net.maxPool(net.maxPool(x, 'pool1', 2), 'pool2', 2);
    net.gemm(net.node('Flatten', 'flat', [pooled]), 'logits', [5, 64]);
    await refused(/MaxPool "pool2_node" .*a second pooling/, net.spec('logits'), {
      layer: 'conv_relu',
    });
  });

  it('refuses maps of one cell, of few cells and that are not square', async () => {
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
    await refused(/not square: 8 x 4/, wide.spec('y'), { layer: 'conv' });
  });

  it('refuses targets that are maps, out of order, upstream or bypassed', async () => {
    const { spec } = vgg();
    const layer = 'conv5_relu';
    await refused(/a feature vector for targets.*pool5/, spec, { layer, targets: ['pool5'] });
    await refused(/order of the network/, spec, { layer, targets: ['fc7_relu', 'fc6_relu'] });
    await refused(/order of the network/, spec, { layer, targets: ['fc6_relu', 'fc6_relu'] });
    await refused(/at least one name/, spec, { layer, targets: [] });
    await refused(/"fc6_relu" does not depend on it/, smallWithTail(), {
      layer: 'late_relu',
      targets: ['fc6_relu'],
      output: 'late_logits',
    });
  });

  it('refuses outputs that are maps or that bypass the last target', async () => {
    const net = smallNet();
    net.node('Identity', 'fc_again', ['fc_relu']);
    const spec = net.spec('logits');
    await refused(/a feature vector for output/, spec, { output: 'conv_relu' });
    await refused(/depends on the last target "logits" alone/, spec, {
      targets: ['logits'],
      output: 'fc_relu',
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
