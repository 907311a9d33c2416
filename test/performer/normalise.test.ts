import { create, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { DataType, ModelSchema, ValueInfoSchema } from '../../lib/performer/onnx_proto.js';
import { run, tensorOf } from '../support/onnx_case.js';
import { randomNumbers, type NetBuilder } from '../support/onnx_models.js';
import { loadOnnxRuntime, relativeError } from '../support/onnxruntime.js';
import { difference, last, model, number, op, read, type Build } from '../support/read_model.js';

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
