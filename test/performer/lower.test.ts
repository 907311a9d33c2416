import { expect } from 'chai';
import { lowerModel, type LowerOptions } from '../../lib/performer/lower.js';
import type { Network } from '../../lib/performer/network.js';
import { parseModel } from '../../lib/performer/onnx_read.js';
import { buildModel, type AttributeValue, type ModelSpec } from '../../lib/performer/onnx_write.js';
import { alexNet, NetBuilder, resNet, smallNet, squeezeNet, vgg } from '../support/onnx_models.js';
import { failure } from '../support/performer.js';

function lower(spec: ModelSpec, options: LowerOptions = {}): Network {
  return lowerModel(parseModel(buildModel(spec), 'test.onnx', ''), options);
}

/** One node over maps (N, 4, 8, 8), computed by a convolution. */
function one(
  opType: string,
  attributes: Record<string, AttributeValue> = {},
  {
    opset = 13,
    inputs = () => [],
  }: { opset?: number; inputs?: (net: NetBuilder) => string[] } = {},
): ModelSpec {
  const net = new NetBuilder({ size: 8, opset });
  const x = net.conv('image', 'x', [4, 3, 3], { pads: [1, 1, 1, 1] });
  net.node(opType, 'y', [x, ...inputs(net)], attributes);
  return net.spec('y');
}

describe('performer: reading a graph', () => {
  it('infers shapes, folds constants and drops what does nothing', () => {
    const network = lower(alexNet().spec);
    const shapes = Object.fromEntries(network.values.map(({ name, shape }) => [name, shape]));
    expect(shapes).to.deep.include({
      conv1: [16, 32, 32],
      pool1: [16, 15, 15],
      pool5: [32, 3, 3],
      flat: [288],
      fc7_relu: [48],
      fc8: [10],
    });
    expect(shapes).not.to.have.any.keys('adaptive', 'drop5', 'shape', 'wanted');
    expect(network.names.get('adaptive')?.name).to.equal('pool5');
    expect(network.names.get('drop5_node')?.name).to.equal('flat');
  });

  it('sorts nodes that the file lists in any order', () => {
    const { spec } = vgg();
    const network = lower({ ...spec, nodes: [...spec.nodes].reverse() });
    expect(network.values.map(({ name }) => name)).to.deep.equal(
      lower(spec).values.map(({ name }) => name),
    );
  });

  it('folds transposed weights, alpha, beta and added biases', () => {
    const network = lower(vgg().spec);
    const fc6 = network.names.get('fc6')?.step?.op;
    const stored = vgg().spec.initializers['fc6.w']?.data as Float32Array;
    if (fc6?.kind !== 'linear') throw new Error('fc6 is not linear');
    expect(fc6.weight[5]).to.be.closeTo(0.5 * (stored[5] ?? 0), 1e-7);
    const fc8 = network.names.get('fc8')?.step?.op;
    const plain = vgg().spec.initializers['fc8.w']?.data as Float32Array;
    if (fc8?.kind !== 'linear') throw new Error('fc8 is not linear');
    expect([fc8.outSize, fc8.inSize]).to.deep.equal([12, 48]);
    expect(fc8.weight[48 + 2]).to.equal(plain[2 * 12 + 1]);
  });

  it('computes padding for SAME_UPPER, SAME_LOWER and VALID', () => {
    const pads = (auto: string, k: number): unknown => {
      const net = new NetBuilder({ size: 9 });
      net.conv('image', 'y', [2, 3, k], { auto_pad: auto, strides: [2, 2] });
      const { step, shape } = lower(net.spec('y')).values[0] ?? {};
      return [step?.op.kind === 'conv' && step.op.pad, shape?.[1]];
    };
    expect(pads('SAME_UPPER', 4)).to.deep.equal([[1, 1, 2, 2], 5]);
    expect(pads('SAME_LOWER', 4)).to.deep.equal([[2, 2, 1, 1], 5]);
    expect(pads('VALID', 4)).to.deep.equal([[0, 0, 0, 0], 3]);
  });

  it('reads Clip as attributes before opset 11 and as inputs after', () => {
    const op = (spec: ModelSpec) => lower(spec).names.get('y')?.step?.op;
    expect(op(one('Clip', { min: { float: 0 }, max: { float: 6 } }, { opset: 10 }))).to.deep.equal({
      kind: 'clip',
      lo: 0,
      hi: 6,
    });
    const bounds = (net: NetBuilder) => [
      net.weight('lo', [], () => 0),
      net.weight('hi', [], () => 6),
    ];
    expect(op(one('Clip', {}, { inputs: bounds }))).to.deep.equal({ kind: 'clip', lo: 0, hi: 6 });
    const low = (net: NetBuilder) => [net.weight('lo', [], () => 0)];
    expect(op(one('Clip', {}, { inputs: low }))).to.deep.equal({ kind: 'relu' });
    expect(lower(one('Clip')).names.get('y')?.name).to.equal('x');
  });

  it('counts ceil_mode windows as ONNX does', () => {
    const side = (size: number, ceil: number): unknown => {
      const net = new NetBuilder({ size });
      net.maxPool('image', 'y', 2, { ceil_mode: ceil, pads: [1, 1, 1, 1] });
      return lower(net.spec('y')).values[0]?.shape[1];
    };
    expect([side(7, 0), side(7, 1)]).to.deep.equal([4, 4]); // a fifth window would see padding only
    expect([side(8, 0), side(8, 1)]).to.deep.equal([5, 5]);
  });

  it('follows receptive fields through windows and residual sums', () => {
    const field = (network: Network, name: string) => network.names.get(name)?.field?.[0];
    // conv 7 s2 p3: [-3, 3]; pool 3 s2 p1: first -3 - 2, last 3 + 2, stride 4 ...
    expect(field(lower(resNet().spec), 'pool1')).to.deep.equal({ stride: 4, first: -5, last: 5 });
    expect(field(lower(resNet().spec), 'block1')).to.deep.equal({
      stride: 4,
      first: -13,
      last: 13,
    });
    expect(field(lower(squeezeNet().spec), 'pool1')).to.deep.equal({
      stride: 4,
      first: 0,
      last: 6,
    });
  });

  it('takes the size from the options where the model leaves it open', async () => {
    const spec = {
      ...smallNet().spec('logits'),
      inputs: [{ name: 'image', dims: ['N', 3, 'H', 'W'] }],
    };
    expect(lower(spec, { size: 8 }).outputs[0]?.shape).to.deep.equal([5]);
    await failure('E_ONNX', /height and a width.*open/s, () => lower(spec));
    await failure('E_ONNX', /node "fc_node" \(Gemm, opset 13\)/, () => lower(spec, { size: 12 }));
  });

  it('reads only what the wanted values need', () => {
    const net = smallNet();
    net.node('NonMaxSuppression', 'boxes', ['logits']);
    expect(lower(net.spec('boxes'), { wanted: ['logits'] }).outputs[0]?.name).to.equal('logits');
  });
});

describe('performer: names as views of values', () => {
  const shuffle = (): NetBuilder => {
    const net = new NetBuilder({ size: 8 });
    const x = net.conv('image', 'x', [6, 3, 3]);
    const five = net.node('Reshape', 'five', [x, net.ints('split', [-1, 2, 3, 6, 6])]);
    const turned = net.node('Transpose', 'turned', [five], { perm: [0, 2, 1, 3, 4] });
    net.node('Reshape', 'shuffled', [turned, net.ints('joined', [-1, 6, 6, 6])]);
    return net;
  };
  const kinds = ({ values }: Network): unknown[] => values.map(({ step }) => step?.op.kind);

  it('takes Transpose, Reshape, Squeeze and Unsqueeze for nothing', () => {
    const net = new NetBuilder({ size: 8 });
    const x = net.conv('image', 'x', [4, 3, 3]);
    const last = net.node('Transpose', 'last', [x], { perm: [0, 2, 3, 1] });
    const rows = net.node('Reshape', 'rows', [last, net.ints('shape', [-1, 36, 4])]);
    const longer = net.node('Unsqueeze', 'longer', [rows, net.ints('axis', [1])]);
    const network = lower(net.spec(net.node('Squeeze', 'again', [longer, net.ints('one', [1])])));
    expect(kinds(network)).to.deep.equal(['conv']);
    for (const name of ['last', 'rows', 'longer', 'again']) {
      expect(network.names.get(name)?.name).to.equal('x');
    }
    expect(network.values[0]?.axes).to.deep.equal([0, 1, 2, 3]);
  });

  it('knows how the tensor of a value lies', () => {
    const net = new NetBuilder({ size: 8 });
    const x = net.conv('image', 'x', [4, 3, 3]);
    const last = net.node('Transpose', 'last', [x], { perm: [0, 2, 3, 1] });
    const product = net.node('MatMul', 'product', [last, net.weight('w', [4, 5])]);
    const joined = net.node('Reshape', 'joined', [product, net.ints('shape', [-1, 36, 5])]);
    const network = lower(net.spec(net.relu(joined)));
    const axes = Object.fromEntries(network.values.map((value) => [value.name, value.axes]));
    expect(axes).to.deep.equal({
      x: [0, 1, 2, 3],
      product: [0, 2, 3, 1],
      joined_relu: undefined,
    });
    expect(network.values.map(({ shape }) => shape)).to.deep.equal([
      [4, 6, 6],
      [5, 6, 6],
      [5, 6, 6],
    ]);
  });

  it('puts channels into order where an op needs it, and not before', () => {
    const net = shuffle();
    expect(kinds(lower(net.spec('shuffled')))).to.deep.equal(['conv']);
    const y = net.conv('shuffled', 'y', [4, 6, 1]);
    const network = lower(net.spec(y));
    expect(kinds(network)).to.deep.equal(['conv', 'gather', 'conv']);
    const op = network.values[1]?.step?.op;
    expect(op?.kind === 'gather' && [...op.index]).to.deep.equal([0, 3, 1, 4, 2, 5]);
  });

  it('permutes the columns of weights over maps flattened in another order', () => {
    const net = new NetBuilder({ size: 3 });
    const last = net.node('Transpose', 'last', ['image'], { perm: [0, 2, 3, 1] });
    net.gemm(net.node('Flatten', 'flat', [last]), 'y', [2, 27]);
    const op = lower(net.spec('y')).names.get('y')?.step?.op;
    const stored = net.initializers['y.w']?.data as Float32Array;
    // Feature (c, h, w) = (1, 2, 0) lies at (h, w, c) in the file.
    expect(op?.kind === 'linear' && op.weight[9 + 6]).to.equal(stored[(2 * 3 + 0) * 3 + 1]);
  });

  it('refuses what mixes images or turns rows into columns for a convolution', async () => {
    const net = new NetBuilder({ size: 8 });
    const turned = net.node('Transpose', 'turned', ['image'], { perm: [0, 1, 3, 2] });
    const error = () => lower(net.spec(net.conv(turned, 'y', [4, 3, 3])));
    await failure('E_ONNX', /maps \(N, C, H, W\) for node "y_node"/, error);
    const mix = new NetBuilder({ size: 8 });
    const joined = mix.node('Reshape', 'joined', ['image', mix.ints('shape', [3, -1])]);
    mix.node('MatMul', 'z', [joined, mix.weight('w', [128, 4])]);
    await failure('E_ONNX', /node "joined_node"/, () => lower(mix.spec('z')));
  });

  it('reads a batch of 1 that the exporter baked into a shape', () => {
    const net = new NetBuilder({ size: 8 });
    const x = net.node('GlobalAveragePool', 'pool', [net.conv('image', 'x', [4, 3, 3])]);
    const flat = net.node('Reshape', 'flat', [x, net.ints('shape', [1, 4])]);
    expect(lower(net.spec(net.gemm(flat, 'y', [5, 4]))).outputs[0]?.shape).to.deep.equal([5]);
  });

  it('joins the borders of both axes, and drops those of nothing', () => {
    const net = new NetBuilder({ size: 8 });
    const x = net.node('Pad', 'none', ['image', net.ints('zero', Array<number>(8).fill(0))]);
    net.node('Pad', 'y', [x, net.ints('pads', [0, 0, 1, 2, 0, 0, 3, 4])]);
    const { values } = lower(net.spec('y'));
    expect(values).to.have.length(1);
    expect(values[0]?.step?.op).to.deep.include({ kind: 'pad', pad: [1, 2, 3, 4] });
    expect(values[0]?.field?.[0]).to.deep.equal({ stride: 1, first: -1, last: -1 });
  });
});

describe('performer: graphs that cannot be read', () => {
  const refused = (message: RegExp, spec: ModelSpec, options: LowerOptions = {}) =>
    failure('E_ONNX', message, () => lower(spec, options));

  it('names node, op type and opset of what is not supported', async () => {
    const error = await refused(
      /Expected a supported op type for node "y_node" \(NonZero, opset 13\)/,
      one('NonZero'),
    );
    expect(error.details).to.deep.equal({ node: 'y_node', opType: 'NonZero', opset: 13 });
    const foreign = one('Relu');
    const model = buildModel(foreign);
    const node = model.graph?.node.at(-1);
    if (node) node.domain = 'com.microsoft';
    await failure('E_ONNX', /of domain com\.microsoft/, () =>
      lowerModel(parseModel(model, 'test.onnx', '')),
    );
    await refused(/a supported op type/, one('constructor'));
  });

  it('refuses groups that do not divide the channels and other unread attributes', async () => {
    const full = (net: NetBuilder) => [net.weight('w', [4, 4, 3, 3])];
    await refused(
      /a group that divides 4 and 4 for node "y_node" \(Conv, opset 13\) but received 3/,
      one('Conv', { group: 3 }, { inputs: full }),
    );
    await refused(
      /weights \(O, 2, R, S\), since x has C = 4/,
      one('Conv', { group: 2 }, { inputs: full }),
    );
    const gaps = { kernel_shape: [2, 2], dilations: [2, 1] };
    await refused(/dilations/, one('AveragePool', gaps, { opset: 19 }));
    await refused(/kernel_shape \(3, 3\)/, one('Conv', { kernel_shape: [5, 5] }, { inputs: full }));
    await refused(/attribute strides of type 7/, one('Conv', { strides: 2 }, { inputs: full }));
    await refused(/auto_pad/, one('Conv', { auto_pad: 'SAME' }, { inputs: full }));
    await refused(/two kernel_shape >= 1/, one('MaxPool', { kernel_shape: [2] }));
    await refused(
      /pads smaller than the kernel/,
      one('MaxPool', { kernel_shape: [2, 2], pads: [2, 0, 0, 0] }),
    );
    await refused(
      /training_mode = false/,
      one(
        'Dropout',
        {},
        {
          inputs: (net) => [net.weight('rate', []), net.ints('train', [1], [])],
        },
      ),
    );
    await refused(/softmax over the features/, one('Softmax'));
    await refused(/training_mode/, one('BatchNormalization', { training_mode: 1 }));
  });

  it('refuses batch normalisation of a network in training', async () => {
    const net = new NetBuilder({ size: 8 });
    net.batchNorm(net.conv('image', 'x', [4, 3, 3]), 'y', 4);
    const spec = net.spec('y');
    const nodes = spec.nodes.map((node) =>
      node.opType === 'BatchNormalization'
        ? { ...node, outputs: ['y', 'mean', 'var', 'm', 'v'] }
        : node,
    );
    await refused(/one output for node "y_node".*model\.eval\(\)/s, { ...spec, nodes });
    expect(lower(spec).outputs[0]?.step?.op.kind).to.equal('affine');
  });

  it('refuses transA, which would mix the images', async () => {
    const net = new NetBuilder({ size: 8 });
    net.gemm(net.node('Flatten', 'flat', ['image']), 'y', [4, 192], { transA: 1 });
    await refused(/transA = 0 for node "y_node" \(Gemm/, net.spec('y'));
  });

  it('refuses shapes that do not fit', async () => {
    const weights = (dims: number[]) => ({ inputs: (net: NetBuilder) => [net.weight('w', dims)] });
    await refused(
      /weights \(O, 4, R, S\), since x has C = 4.*\(4, 5, 3, 3\)/,
      one('Conv', {}, weights([4, 5, 3, 3])),
    );
    await refused(/a kernel that fits 8 x 8/, one('Conv', {}, weights([4, 4, 9, 9])));
    await refused(/a constant that broadcasts to \(N, 4, 8, 8\)/, one('Add', {}, weights([4])));
    await refused(/a constant that broadcasts/, one('Add', {}, weights([2, 4, 8, 8])));
    await refused(
      /shape \(4\)/,
      one(
        'BatchNormalization',
        {},
        {
          inputs: (net) => [4, 4, 3, 4].map((C, i) => net.weight(`s${String(i)}`, [C])),
        },
      ),
    );
    const net = new NetBuilder({ size: 8 });
    const a = net.conv('image', 'a', [4, 3, 3]);
    const b = net.conv('image', 'b', [4, 3, 5]);
    net.node('Add', 'sum', [a, b]);
    net.node('Concat', 'joined', [a, b], { axis: 1 });
    await refused(/inputs of one shape, or .* for node "sum_node"/, net.spec('sum'));
    await refused(/maps or vectors that differ along the joined axis/, net.spec('joined'));
    net.gemm(net.node('Flatten', 'flat', ['a']), 'fc', [4, 100]);
    await refused(/weights for x of shape \(N, 144\).*\(4, 100\)/, net.spec('fc'));
  });

  it('refuses negative and enormous paddings and outputs', async () => {
    const full = { inputs: (net: NetBuilder) => [net.weight('w', [4, 4, 3, 3])] };
    await refused(/four pads >= 0/, one('Conv', { pads: [-1, 0, 0, 0] }, full));
    await refused(/four pads >= 0/, one('Conv', { pads: [2 ** 40, 0, 0, 0] }, full));
    await refused(/fewer than 2\^31 elements/, one('Conv', { pads: [2 ** 30, 0, 0, 0] }, full));
    const net = new NetBuilder({ size: 8 });
    const filled = net.node('ConstantOfShape', 'filled', [net.ints('shape', [2 ** 20, 2 ** 10])]);
    net.node('Add', 'y', ['image', filled]);
    await refused(/sizes >= 0 of at most/, net.spec('y'));
  });

  it('bounds constants that double themselves', async () => {
    const net = new NetBuilder({ size: 8 });
    let list = net.ints('list', [1]);
    for (let i = 0; i < 60; i++)
      list = net.node('Concat', `l${String(i)}`, [list, list], { axis: 0 });
    net.node('Reshape', 'y', ['image', list]);
    await refused(/constants of about the size of the model/, net.spec('y'));
  });

  it('refuses cycles, missing initializers and values made twice', async () => {
    const loop = new NetBuilder({ size: 8 });
    loop.node('Add', 'a', ['image', 'c']);
    loop.node('Relu', 'b', ['a']);
    loop.node('Relu', 'c', ['b']);
    await refused(
      /a graph without cycles for node "c_node".*c_node -> a_node -> b_node -> c_node/,
      loop.spec('c'),
    );
    const self = new NetBuilder({ size: 8 });
    self.node('Relu', 'a', ['a']);
    await refused(/without cycles/, self.spec('a'));
    const lost = smallNet();
    Reflect.deleteProperty(lost.initializers, 'fc.w');
    await refused(
      /node "fc_node" \(Gemm, opset 13\) but received "fc\.w".*no initializer/s,
      lost.spec('logits'),
    );
    const twice = smallNet();
    twice.node('Relu', 'fc', ['conv']);
    await refused(/outputs of new names.*"fc"/, twice.spec('logits'));
    await refused(/a value of the graph for output/, smallNet().spec('nowhere'));
  });

  it('does not overflow the stack on a chain of 50000 nodes', () => {
    const net = new NetBuilder({ size: 8 });
    let x = 'image';
    for (let i = 0; i < 50_000; i++) x = net.node('Identity', `i${String(i)}`, [x]);
    expect(lower(net.spec(x)).outputs[0]?.name).to.equal('image');
  });

  it('ignores inputs that nothing reads and refuses other than one that is read', async () => {
    const net = smallNet();
    const two = [...net.spec('logits').inputs, { name: 'second', dims: [1] }];
    expect(lower({ ...net.spec('logits'), inputs: two }).input.name).to.equal('image');
    await refused(/no input and no node output/, { ...net.spec('logits'), inputs: [] });
    net.node('Add', 'y', ['logits', 'second']);
    await refused(/one input that is read.*\("image", "second"\)/, {
      ...net.spec('y'),
      inputs: two,
    });
  });
});
