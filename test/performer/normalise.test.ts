import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { lowerModel } from '../../lib/performer/lower.js';
import {
  AttributeSchema,
  AttributeType,
  DataType,
  FunctionSchema,
  ModelSchema,
  OperatorSetIdSchema,
  ValueInfoSchema,
  type ModelProto,
} from '../../lib/performer/onnx_proto.js';
import { parseModel, type OnnxModel } from '../../lib/performer/onnx_read.js';
import { attributeOf, buildModel } from '../../lib/performer/onnx_write.js';
import { run, tensorOf, writeRead } from '../support/onnx_case.js';
import { NetBuilder, randomNumbers } from '../support/onnx_models.js';
import { loadOnnxRuntime, relativeError } from '../support/onnxruntime.js';
import { failure } from '../support/performer.js';

type Build = (net: NetBuilder, x: string) => string;

/** A network with what `build` adds behind a convolution; the output is called as it says. */
function model(build: Build, opset = 17): ModelProto {
  const net = new NetBuilder({ size: 8, opset });
  const x = net.conv('image', 'x', [6, 3, 3], { pads: [1, 1, 1, 1] });
  return buildModel(net.spec(build(net, x)));
}

const read = (proto: ModelProto): OnnxModel => parseModel(proto, 'test.onnx', '');

/** The node that gives the output of the model. */
function last(parsed: OnnxModel) {
  const found = parsed.nodes.find(({ outputs }) => outputs[0] === parsed.outputs[0]);
  if (!found) throw new Error('the output is missing');
  return found;
}

/** The largest relative error of the model as read against the file, both in onnxruntime. */
async function difference(proto: ModelProto, parsed: OnnxModel): Promise<number> {
  const next = randomNumbers(11);
  const data = Float32Array.from({ length: 3 * 64 }, () => 6 * next() - 3);
  const feeds = { image: { dims: [1, 3, 8, 8], data } };
  const [name = ''] = parsed.outputs;
  const wanted = await run(toBinary(ModelSchema, proto), feeds);
  const got = await run(writeRead(parsed), feeds);
  expect(got[name]?.dims).to.deep.equal(wanted[name]?.dims);
  return relativeError(got[name]?.data ?? [], wanted[name]?.data ?? [1]);
}

const number = (net: NetBuilder, value: number): string =>
  net.weight(`n${String(Object.keys(net.initializers).length)}`, [], () => value);

const op =
  (opType: string, name: string, ...inputs: string[]) =>
  (net: NetBuilder): string =>
    net.node(opType, name, inputs);

const erfOf = (net: NetBuilder, x: string): string => {
  const erf = op('Erf', 'erf', op('Div', 'd', x, number(net, Math.SQRT2))(net))(net);
  return op('Add', 'one', number(net, 1), erf)(net);
};
const tanhOf = (net: NetBuilder, x: string, inside: string): string => {
  const scaled = op('Mul', 'u', inside, number(net, Math.sqrt(2 / Math.PI)))(net);
  return op('Add', 'one', op('Tanh', 'tanh', scaled)(net), number(net, 1))(net);
};
const hardClip = (net: NetBuilder, x: string): string =>
  net.node('Clip', 'clip', [
    op('Add', 'a', x, number(net, 3))(net),
    number(net, 0),
    number(net, 6),
  ]);

const PATTERNS: [title: string, opType: string, Build][] = [
  [
    'x (1 + erf) / 2',
    'Gelu',
    (net, x) => {
      const product = op('Mul', 'm', x, erfOf(net, x))(net);
      return op('Mul', 'y', product, number(net, 0.5))(net);
    },
  ],
  [
    '(x / 2) (1 + erf)',
    'Gelu',
    (net, x) => {
      const half = op('Mul', 'h', number(net, 0.5), x)(net);
      return op('Mul', 'y', half, erfOf(net, x))(net);
    },
  ],
  [
    'x ((1 + erf) / 2), x itself a product',
    'Gelu',
    (net, x) => {
      const product = op('Mul', 'p', x, number(net, 1.5))(net);
      const half = op('Div', 'h', erfOf(net, product), number(net, 2))(net);
      return op('Mul', 'y', product, half)(net);
    },
  ],
  [
    'tanh with x x x',
    'Gelu',
    (net, x) => {
      const cube = op('Mul', 'c3', x, op('Mul', 'c2', x, x)(net))(net);
      const sum = op('Add', 's', x, op('Mul', 'k', number(net, 0.044715), cube)(net))(net);
      const product = op('Mul', 'm', x, tanhOf(net, x, sum))(net);
      return op('Mul', 'y', number(net, 0.5), product)(net);
    },
  ],
  [
    'tanh with x^3 and x / 2 first',
    'Gelu',
    (net, x) => {
      const cube = op('Pow', 'c3', x, number(net, 3))(net);
      const sum = op('Add', 's', op('Mul', 'k', cube, number(net, 0.044715))(net), x)(net);
      const half = op('Mul', 'h', x, number(net, 0.5))(net);
      return op('Mul', 'y', half, tanhOf(net, x, sum))(net);
    },
  ],
  [
    'tanh with x (1 + 0.044715 x^2)',
    'Gelu',
    (net, x) => {
      const square = op('Mul', 'k', op('Mul', 'c2', x, x)(net), number(net, 0.044715))(net);
      const inside = op('Mul', 'i', x, op('Add', 's', number(net, 1), square)(net))(net);
      const product = op('Mul', 'm', x, tanhOf(net, x, inside))(net);
      return op('Mul', 'y', product, number(net, 0.5))(net);
    },
  ],
  ['x sigmoid(x)', 'Swish', (net, x) => op('Mul', 'y', op('Sigmoid', 's', x)(net), x)(net)],
  [
    'x sigmoid(1.7 x)',
    'Swish',
    (net, x) => {
      const scaled = op('Mul', 'm', x, number(net, 1.7))(net);
      return op('Mul', 'y', x, op('Sigmoid', 's', scaled)(net))(net);
    },
  ],
  [
    'x hardSigmoid(x)',
    'HardSwish',
    (net, x) => op('Mul', 'y', x, net.node('HardSigmoid', 's', [x], { alpha: 1 / 6 }))(net),
  ],
  [
    'x clip(x + 3, 0, 6) / 6',
    'HardSwish',
    (net, x) => op('Div', 'y', op('Mul', 'm', x, hardClip(net, x))(net), number(net, 6))(net),
  ],
  [
    'x (clip(x + 3, 0, 6) / 6)',
    'HardSwish',
    (net, x) => op('Mul', 'y', x, op('Div', 'm', hardClip(net, x), number(net, 6))(net))(net),
  ],
  [
    'clip(x + 3, 0, 6) / 6',
    'HardSigmoid',
    (net, x) => op('Mul', 'y', hardClip(net, x), number(net, 1 / 6))(net),
  ],
  ['LayerNorm over the last axis', 'LayerNormalization', (net, x) => layerNorm(net, x, [-1], [8])],
  ['LRN as PyTorch writes it', 'LRN', (net, x) => localResponse(net, x, 5)],
];

function layerNorm(net: NetBuilder, x: string, axes: number[], dims: number[]): string {
  const centred = op('Sub', 'c', x, net.node('ReduceMean', 'mu', [x], { axes }))(net);
  const square = op('Pow', 'sq', centred, number(net, 2))(net);
  const variance = net.node('ReduceMean', 'var', [square], { axes });
  const root = op('Sqrt', 'r', op('Add', 'e', variance, number(net, 0.01))(net))(net);
  const scaled = op('Mul', 'g', op('Div', 'n', centred, root)(net), net.weight('gamma', dims))(net);
  return op('Add', 'y', scaled, net.weight('beta', dims))(net);
}

function localResponse(net: NetBuilder, x: string, size: number, channels = 2): string {
  const half = Math.floor(size / 2);
  const pads = Array.from({ length: 10 }, (_, i) => (i % 5 === channels ? half : 0));
  const five = net.node('Unsqueeze', 'five', [op('Mul', 'sq', x, x)(net), net.ints('ax', [1])]);
  const padded = net.node('Pad', 'pad', [five, net.ints('pads', pads)]);
  const kernel = Array.from({ length: 3 }, (_, i) => (i + 2 === channels ? size : 1));
  const pool = net.node('AveragePool', 'pool', [padded], { kernel_shape: kernel });
  const back = net.node('Squeeze', 'back', [pool, 'ax']);
  const scaled = op('Add', 'k', op('Mul', 'al', back, number(net, 0.3))(net), number(net, 2))(net);
  return op('Div', 'y', x, op('Pow', 'p', scaled, number(net, 0.75))(net))(net);
}

describe('performer: patterns', () => {
  for (const [title, opType, build] of PATTERNS) {
    it(`${title} is ${opType}`, async () => {
      const proto = model(build);
      const parsed = read(proto);
      expect(last(parsed).opType).to.equal(opType);
      expect(last(parsed).name).to.equal('y_node');
      if (await loadOnnxRuntime()) expect(await difference(proto, parsed)).to.be.below(2e-5);
      else console.log('      onnxruntime-node is not installed: values were not compared');
    });
  }

  it('leaves what is nearly a pattern', () => {
    const near: [string, Build][] = [
      [
        'Mul',
        (net, x) => op('Mul', 'y', op('Mul', 'm', x, erfOf(net, x))(net), number(net, 0.6))(net),
      ],
      ['Mul', (net, x) => op('Mul', 'y', net.node('Sigmoid', 's', ['x']), net.relu(x))(net)],
      ['Mul', (net, x) => op('Mul', 'y', x, net.node('HardSigmoid', 's', [x]))(net)],
      ['Div', (net, x) => localResponse(net, x, 4)],
      ['Div', (net, x) => localResponse(net, x, 3, 3)],
      ['Add', (net, x) => layerNorm(net, x, [3], [8])],
    ];
    for (const [opType, build] of near) expect(last(read(model(build))).opType).to.equal(opType);
    const moments = read(model((net, x) => layerNorm(net, x, [3], [8])));
    const made = moments.nodes.find(({ name }) => name === 'n_node');
    expect(made?.opType).to.equal('MeanVarianceNormalization');
    expect(made?.attributes.get('axes')?.ints).to.deep.equal([3n]);
    expect(made?.attributes.get('epsilon')?.f).to.be.closeTo(0.01, 1e-6);
  });

  it('keeps the inner values for whoever asks', () => {
    const parsed = read(model((net, x) => op('Mul', 'y', op('Sigmoid', 's', x)(net), x)(net)));
    expect(parsed.nodes.map(({ opType }) => opType)).to.deep.equal(['Conv', 'Sigmoid', 'Swish']);
  });
});

describe('performer: adaptive pooling by gathered windows', () => {
  const ranges = [
    [0, 3],
    [2, 4],
    [5, 3],
  ] as const;
  const A = 4;

  /** As PyTorch writes AdaptiveAvgPool2d(3) of 8 x 8 cells. */
  function adaptive(
    divisor = (p: number, q: number) => (ranges[p]?.[1] ?? 0) * (ranges[q]?.[1] ?? 0),
  ) {
    const cell = (window: number, i: number) => Math.min((ranges[window]?.[0] ?? 0) + i, 7);
    const each = [0, 1, 2].flatMap((window) =>
      Array.from({ length: A }, (_, i) => [window, i] as const),
    );
    const indices = each.flatMap(([p, a]) => each.flatMap(([q, b]) => [cell(p, a), cell(q, b)]));
    const proto = model((net, x) => {
      const front = net.node('Transpose', 'front', [x], { perm: [2, 3, 0, 1] });
      net.ints('indices', indices, [3, A, 3, A, 2]);
      const gathered = net.node('GatherND', 'gathered', [front, 'indices']);
      const cells = net.node('Transpose', 'cells', [gathered], { perm: [4, 5, 0, 1, 2, 3] });
      const zero = number(net, 0);
      const rows = op('Where', 'w1', 'rows', zero, cells)(net);
      const base = op('Where', 'w2', 'columns', zero, rows)(net);
      const parts = Array.from({ length: A }, (_, a) => {
        const row = net.node(
          'Gather',
          `r${String(a)}`,
          [base, net.ints(`i${String(a)}`, [a], [])],
          { axis: 3 },
        );
        return Array.from({ length: A }, (_, b) =>
          net.node('Gather', `c${String(a)}_${String(b)}`, [row, `i${String(b)}`], { axis: 4 }),
        );
      }).flat();
      for (let k = 0; k < A; k++) net.ints(`i${String(k)}`, [k], []);
      const sum = parts.reduce((left, right) => op('Add', `s_${right}`, left, right)(net));
      let at = 0;
      const sizes = net.weight('sizes', [3, 3], () => divisor(Math.floor(at / 3), at++ % 3));
      return op('Div', 'y', sum, sizes)(net);
    });
    const mask = each.map(([window, i]) => Number(i >= (ranges[window]?.[1] ?? 0)));
    for (const [name, dims] of [
      ['rows', [3, A, 1, 1]],
      ['columns', [3, A]],
    ] as const) {
      proto.graph?.initializer.push(tensorOf(name, { dims, data: mask, type: DataType.BOOL }));
    }
    return proto;
  }

  it('is WindowMean with the windows that it gathers', async function () {
    const proto = adaptive();
    const found = last(read(proto));
    expect(found.opType).to.equal('WindowMean');
    for (const axis of ['rows', 'columns']) {
      expect(found.attributes.get(axis)?.ints.map(Number)).to.deep.equal(ranges.flat());
    }
    if (!(await loadOnnxRuntime())) {
      console.log('      skipped: onnxruntime-node is not installed');
      this.skip();
    }
    const next = randomNumbers(3);
    const data = Float32Array.from({ length: 3 * 64 }, () => next() - 0.5);
    proto.graph?.output.push(create(ValueInfoSchema, { name: 'x' }));
    const { x, y } = await run(toBinary(ModelSchema, proto), {
      image: { dims: [1, 3, 8, 8], data },
    });
    const means = Array.from({ length: 6 * 9 }, (_, k) => {
      const [c, p, q] = [Math.floor(k / 9), Math.floor(k / 3) % 3, k % 3];
      const [[top, height], [left, width]] = [ranges[p] ?? [0, 0], ranges[q] ?? [0, 0]];
      let sum = 0;
      for (let i = 0; i < height; i++) {
        for (let j = 0; j < width; j++) sum += x?.data[(c * 8 + top + i) * 8 + left + j] ?? NaN;
      }
      return sum / (height * width);
    });
    expect(relativeError(means, y?.data ?? [])).to.be.below(1e-5);
  });

  it('is left where the divisors are not the sizes of the windows', () => {
    expect(last(read(adaptive(() => 9))).opType).to.equal('Div');
  });
});

describe('performer: nodes of other domains', () => {
  it('takes fused nodes apart', async function () {
    const proto = model((net, x) => {
      net.weight('w', [4, 6, 1, 1]);
      net.conv('image', 'z', [4, 3, 1]);
      return net.node('FusedConv', 'y', [x, 'w', '', 'z'], { activation: 'LeakyRelu' });
    });
    proto.opsetImport.push(create(OperatorSetIdSchema, { domain: 'com.microsoft', version: 1n }));
    const node = proto.graph?.node.find(({ opType }) => opType === 'FusedConv');
    if (!node) throw new Error('FusedConv is missing');
    node.domain = 'com.microsoft';
    node.attribute.push(attributeOf('activation_params', { floats: [0.2] }));
    const parsed = read(proto);
    expect(parsed.nodes.slice(-3).map(({ opType }) => opType)).to.deep.equal([
      'Conv',
      'Add',
      'LeakyRelu',
    ]);
    if (!(await loadOnnxRuntime())) {
      console.log('      skipped: onnxruntime-node is not installed');
      this.skip();
    }
    expect(await difference(proto, parsed)).to.be.below(1e-5);
  });

  it('computes quantised activations in float, within what the type holds, and says so', () => {
    const proto = model((net, x) => {
      net.weight('scale', [], () => 0.1);
      const q = net.node('QuantizeLinear', 'q', [x, 'scale', 'zero']);
      return net.node('DequantizeLinear', 'y', [q, 'scale', 'zero']);
    });
    proto.graph?.initializer.push(
      tensorOf('zero', { dims: [], data: [-128], type: DataType.INT8 }),
    );
    const parsed = read(proto);
    expect(parsed.notes).to.deep.equal([
      '1 quantised activations are computed in float, without their rounding.',
    ]);
    const { op: clip } = lowerModel(parsed).outputs[0]?.step ?? {};
    if (clip?.kind !== 'clip') throw new Error('not clipped');
    expect(clip.lo).to.equal(0);
    expect(clip.hi).to.be.closeTo(25.5, 1e-5);
  });
});

describe('performer: functions and branches', () => {
  const attribute = (name: string, ref: string, type: number) => ({ name, refAttrName: ref, type });
  const opsetImport = [{ domain: '', version: 17n }];
  const functions: MessageInitShape<typeof FunctionSchema>[] = [
    {
      name: 'leaky',
      domain: 'local',
      input: ['x', 'bias'],
      output: ['y'],
      attribute: ['slope'],
      opsetImport,
      node: [
        { opType: 'Add', input: ['x', 'bias'], output: ['t'] },
        {
          opType: 'LeakyRelu',
          input: ['t'],
          output: ['y'],
          attribute: [attribute('alpha', 'slope', AttributeType.FLOAT)],
        },
      ],
    },
    {
      name: 'twice',
      domain: 'local',
      input: ['x', 'b'],
      output: ['y', 'same'],
      attribute: ['slope'],
      opsetImport: [...opsetImport, { domain: 'local', version: 1n }],
      node: [
        ...['t', 'y'].map((output, i) => ({
          opType: 'leaky',
          domain: 'local',
          input: [i === 0 ? 'x' : 't', 'b'],
          output: [output],
          attribute: [attribute('slope', 'slope', AttributeType.FLOAT)],
        })),
        { opType: 'Identity', input: ['x'], output: ['same'] },
      ],
    },
  ];

  function calling(): ModelProto {
    const proto = model((net, x) => {
      net.weight('b', [6, 1, 1]);
      net.nodes.push({ opType: 'twice', name: 'call', inputs: [x, 'b'], outputs: ['t', 'same'] });
      return op('Mul', 'y', 't', 'same')(net);
    });
    proto.functions.push(...functions.map((one) => create(FunctionSchema, one)));
    proto.opsetImport.push(create(OperatorSetIdSchema, { domain: 'local', version: 1n }));
    proto.irVersion = 8n;
    const call = proto.graph?.node.find(({ name }) => name === 'call');
    call?.attribute.push(attributeOf('slope', { float: 0.3 }));
    if (call) call.domain = 'local';
    return proto;
  }

  it('puts the nodes of functions in the place of their calls', async function () {
    const proto = calling();
    const parsed = read(proto);
    const types = parsed.nodes.map(({ opType }) => opType);
    expect(types).to.deep.equal([
      'Conv',
      'Add',
      'LeakyRelu',
      'Add',
      'LeakyRelu',
      'Identity',
      'Mul',
    ]);
    const names = parsed.nodes.flatMap(({ outputs }) => outputs);
    expect(new Set(names).size).to.equal(names.length);
    if (!(await loadOnnxRuntime())) {
      console.log('      skipped: onnxruntime-node is not installed');
      this.skip();
    }
    expect(await difference(proto, parsed)).to.equal(0);
  });

  it('gives a value that a function hands through both of its names', () => {
    const proto = calling();
    const twice = proto.functions[1];
    twice?.output.splice(1, 1, 'x');
    twice?.node.splice(2, 1);
    const parsed = read(proto);
    const made = parsed.nodes.find(({ outputs }) => outputs[0] === 'same');
    expect([made?.opType, made?.inputs]).to.deep.equal(['Identity', ['x']]);
  });

  it('refuses functions that call themselves or grow without end', async () => {
    const endless = calling();
    const inner = endless.functions[1]?.node[0];
    if (inner) inner.opType = 'twice';
    await failure('E_ONNX', /functions 32 deep/, () => read(endless));
  });

  /** An If whose condition is `rank of x equals 4`, over x; the branches call their values alike. */
  function branching(wanted: number): ModelProto {
    const proto = model((net, x) => {
      const size = net.node('Size', 'rank', [net.node('Shape', 'shape', [x])]);
      net.ints('wanted', [wanted], []);
      const condition = net.node('Equal', 'cond', [size, 'wanted']);
      net.node('If', 'y', [condition]);
      return 'y';
    });
    const branch = (opType: string) => ({
      name: opType,
      initializer: [tensorOf('k', { dims: [], data: [2] })],
      node: [{ opType, input: ['x', 'k'], output: ['x2'] }],
      output: [{ name: 'x2' }],
    });
    const sides = [
      ['then_branch', 'Mul'],
      ['else_branch', 'Add'],
    ] as const;
    const attributes = sides.map(([name, opType]) =>
      create(AttributeSchema, { name, type: AttributeType.GRAPH, g: branch(opType) }),
    );
    proto.graph?.node.find(({ opType }) => opType === 'If')?.attribute.push(...attributes);
    return proto;
  }

  it('takes the branch of an If whose condition follows from shapes', () => {
    for (const [wanted, opType] of [
      [4, 'Mul'],
      [3, 'Add'],
    ] as const) {
      const network = lowerModel(read(branching(wanted)));
      expect(network.outputs[0]?.step?.node.opType).to.equal(opType);
      const affine = network.outputs[0]?.step?.op;
      if (affine?.kind !== 'affine') throw new Error('not affine');
      const [scale, shift] = [affine.scale[0], affine.shift[0]];
      expect([scale, shift]).to.deep.equal(opType === 'Mul' ? [2, 0] : [1, 2]);
    }
  });

  it('refuses an If that depends on the image', async () => {
    const proto = branching(4);
    const node = proto.graph?.node.find(({ opType }) => opType === 'If');
    if (node) node.input[0] = 'x';
    await failure('E_ONNX', /a condition known at load .* depends on the image/, () =>
      lowerModel(read(proto)),
    );
  });
});
