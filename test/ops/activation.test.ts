import { expect } from 'chai';
import { gradient } from '../../lib/engine/grad.js';
import { Graph } from '../../lib/engine/graph.js';
import {
  activation,
  ACTIVATIONS,
  type Activation,
  type ActivationOptions,
} from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { distinct, uniform, type Draw } from '../support/draw.js';
import { backends, runGraph } from '../support/engine.js';
import { failure } from '../support/performer.js';

interface Attrs extends ActivationOptions {
  kind: Activation;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const clip = (x: number): number => Math.min(Math.max(x, 0), 1);

/** 2 / sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (2n+1)!! */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

const FUNCTIONS: Record<Activation, (x: number, alpha: number, beta: number) => number> = {
  sigmoid,
  tanh: Math.tanh,
  hard_sigmoid: (x, alpha, beta) => clip(alpha * x + beta),
  hard_swish: (x) => x * clip(x / 6 + 0.5),
  silu: (x) => x * sigmoid(x),
  gelu: (x) => (x * (1 + erf(x / Math.SQRT2))) / 2,
  gelu_tanh: (x) => (x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))) / 2,
  leaky_relu: (x, alpha) => (x < 0 ? alpha * x : x),
  elu: (x, alpha) => (x < 0 ? alpha * Math.expm1(x) : x),
  celu: (x, alpha) => (x < 0 ? alpha * Math.expm1(x / alpha) : x),
  selu: (x, alpha, beta) => beta * (x < 0 ? alpha * Math.expm1(x) : x),
  softplus,
  softsign: (x) => x / (1 + Math.abs(x)),
  mish: (x) => x * Math.tanh(softplus(x)),
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  reciprocal: (x) => 1 / x,
  abs: Math.abs,
  neg: (x) => -x,
  erf,
  square: (x) => x * x,
  power: (x, alpha) => Math.pow(x, alpha),
};

const DEFAULTS: Partial<Record<Activation, readonly [number, number]>> = {
  hard_sigmoid: [0.2, 0.5],
  leaky_relu: [0.01, 0],
  elu: [1, 0],
  celu: [1, 0],
  selu: [1.6732632423543772, 1.0507009873554805],
};

/** The function in float64, its constants rounded as the kernels have them. */
function functionOf({ kind, alpha, beta }: Attrs): (x: number) => number {
  const [a = NaN, b = NaN] = DEFAULTS[kind] ?? [];
  return (x) => FUNCTIONS[kind](x, Math.fround(alpha ?? a), Math.fround(beta ?? b));
}

/** Both signs, not near 0. */
const away: Draw = (random, count) =>
  Array.from(distinct()(random, count), (v) => v + 0.3 * Math.sign(v));

const POSITIVE = new Set<Activation>(['log', 'sqrt', 'power']);

/** Each kind with every way of padding; the common ones with sizes that fill vectors, too. */
function casesOf(kind: Activation): OpCase<'x', Attrs>[] {
  const draw = POSITIVE.has(kind)
    ? { x: uniform(0.1, 3) }
    : kind === 'reciprocal'
      ? { x: away }
      : {};
  const attrs: Attrs = kind === 'power' ? { kind, alpha: 0.75 } : { kind };
  return [
    { shapes: { x: [2, 5, 3, 4] }, attrs, draw },
    { shapes: { x: [3, 17] }, attrs, draw },
    { shapes: { x: [2, 60] }, chw: { x: [20, 1, 3] }, attrs, draw },
    { shapes: { x: [2, 40, 15, 15] }, attrs, draw, large: true, samples: 10 },
  ];
}

describe('ops: activation', () => {
  checkOp<'x', Attrs>(
    {
      name: 'activation',
      inputs: { x: { draw: distinct(-4, 4) } },
      wrt: ['x'],
      build: ({ x }, { kind, ...options }) => ({ y: activation(x, kind, options) }),
      wrong: [
        {
          shapes: {},
          attrs: { kind: 'power' },
          text: /\[activation\] Expected a finite number for alpha of power/,
          code: 'E_ARGUMENT',
        },
        {
          shapes: {},
          attrs: { kind: 'celu', alpha: 0 },
          text: /\[activation\] Expected a number above 0 for alpha of celu but received 0/,
          code: 'E_ARGUMENT',
        },
        {
          shapes: {},
          attrs: { kind: 'hard_sigmoid', beta: Infinity },
          text: /\[activation\] Expected a finite number for beta of hard_sigmoid/,
          code: 'E_ARGUMENT',
        },
        {
          shapes: {},
          attrs: { kind: 'relu9' as Activation },
          text: /\[activation\] Expected one of sigmoid, tanh, .* for kind but received "relu9"/,
          code: 'E_ARGUMENT',
        },
      ],
    },
    ({ x }, attrs, f) => {
      const of = functionOf(attrs);
      return { y: x.map((value) => f(of(value))) };
    },
    [
      ...ACTIVATIONS.flatMap(casesOf),
      { shapes: { x: [] }, attrs: { kind: 'exp' } },
      { shapes: { x: [5] }, attrs: { kind: 'hard_sigmoid', alpha: 0.3, beta: 0.1 } },
      { shapes: { x: [2, 5, 3, 4] }, attrs: { kind: 'leaky_relu', alpha: -0.3 } },
      { shapes: { x: [2, 5, 3, 4] }, attrs: { kind: 'elu', alpha: 0.7 } },
      { shapes: { x: [2, 5, 3, 4] }, attrs: { kind: 'celu', alpha: 0.4 } },
      { shapes: { x: [2, 5, 3, 4] }, attrs: { kind: 'selu', alpha: 1.3, beta: 0.6 } },
      { shapes: { x: [2, 5, 3, 4] }, attrs: { kind: 'power', alpha: 3 } },
      {
        shapes: { x: [2, 5, 3, 4] },
        attrs: { kind: 'power', alpha: -1.5 },
        draw: { x: uniform(0.2, 3) },
      },
      { shapes: { x: [2, 5, 3, 4] }, attrs: { kind: 'power', alpha: 0 } },
    ],
  );

  it('refuses weights', async () => {
    const w = new Graph().input('w', [2, 3, 1, 1], { layout: 'conv_weight' });
    await failure('E_SHAPE', /\[activation\] Expected maps or rows for x/, () =>
      activation(w, 'silu'),
    );
  });

  const whole = [1e38, 3e5, 1000, 100, 88.6, 87.5, 30, 5, 2.5, 1, 1e-3, 1e-6, 1e-20];
  const range = Float32Array.from([...whole.map((x) => -x), 0, ...whole.toReversed()]);
  for (const backend of backends()) {
    for (const kind of ACTIVATIONS) {
      it(`${kind} over the whole range of float32 on ${backend}`, async () => {
        const attrs: Attrs = kind === 'power' ? { kind, alpha: 1.5 } : { kind };
        const graph = new Graph();
        const x = graph.input('x', [range.length]);
        const y = activation(x, kind, attrs);
        graph.output('y', y);
        const [dx] = gradient([{ of: y, gradient: graph.constant(1, [range.length]) }], [x]);
        if (dx) graph.output('dx', dx);
        const got = await runGraph(graph, { x: range }, { backend });
        const of = functionOf(attrs);
        const near0 = of(0) === 0 && kind !== 'sqrt';
        range.forEach((x, i) => {
          const want = of(x);
          const value = got.y?.[i] ?? NaN;
          const same = Object.is(Math.fround(want), value) || Math.fround(want) === value;
          // relative near 0 too, where the function goes through 0
          const small = near0 && Math.abs(x) < 0.1 ? 1e-37 : 1e-6;
          const off = Math.abs(value - want);
          expect(
            same || off <= 1e-6 * Math.abs(want) + small,
            `f(${String(x)}) = ${String(value)}, not ${String(want)}`,
          ).to.equal(true);
          const slope = got.dx?.[i] ?? NaN;
          const undefinedHere =
            (POSITIVE.has(kind) && x <= 0) || (kind === 'reciprocal' && Math.abs(x) < 1e-18);
          const overflows = Math.abs(want) > 3e38 || (kind === 'log' && x < 1e-38);
          if (!undefinedHere && !overflows) expect(slope, `slope at ${String(x)}`).to.be.finite;
        });
      });
    }
  }
});
