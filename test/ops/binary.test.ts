import { expect } from 'chai';
import { gradient } from '../../lib/engine/grad.js';
import { Graph } from '../../lib/engine/graph.js';
import {
  asMaps,
  BINARIES,
  binary,
  flatten,
  relu,
  type Binary,
} from '../../lib/engine/ops/index.js';
import type { Shape } from '../../lib/engine/tensor.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { distinct, uniform } from '../support/draw.js';
import { backends, runGraph } from '../support/engine.js';
import { Grid, sizes } from '../support/grid.js';
import { failure } from '../support/performer.js';

interface Attrs {
  kind: Binary;
}

const FUNCTIONS: Record<Binary, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  max: Math.max,
  min: Math.min,
  pow: Math.pow,
};

/** Numbers for which nothing is near a kink or a pole: a and b never meet, pow has no negative base. */
function drawOf(kind: Binary): OpCase<'a' | 'b', Attrs>['draw'] {
  if (kind === 'div') return { b: uniform(0.4, 2) };
  if (kind === 'pow') return { a: uniform(0.2, 2) };
  const even = distinct();
  return kind === 'max' || kind === 'min'
    ? { a: even, b: (random, count) => Array.from(even(random, count), (v) => v + 0.00021) }
    : {};
}

/** Every way to repeat an operand, and the common ones at sizes beyond one stretch. */
const PAIRS: readonly [Shape, Shape][] = [
  [
    [2, 5, 3, 4],
    [2, 5, 3, 4],
  ],
  [
    [2, 20, 3, 4],
    [2, 20, 1, 1],
  ],
  [
    [1, 5, 1, 1],
    [2, 5, 3, 4],
  ],
  [
    [2, 1, 3, 4],
    [2, 21, 3, 4],
  ],
  [
    [2, 18, 3, 4],
    [1, 1, 1, 1],
  ],
  [
    [2, 1, 3, 1],
    [1, 19, 1, 4],
  ],
  [
    [1, 18, 3, 4],
    [3, 1, 1, 4],
  ],
  [
    [3, 17, 3, 1],
    [3, 17, 3, 5],
  ],
  [
    [2, 1, 1, 1],
    [2, 1, 2, 3],
  ],
  [
    [2, 17, 1, 1],
    [1, 17, 1, 1],
  ],
];
const LARGE: readonly [Shape, Shape][] = [
  [
    [2, 20, 41, 37],
    [2, 20, 41, 37],
  ],
  [
    [2, 20, 41, 37],
    [2, 20, 1, 1],
  ],
  [
    [1, 20, 3, 300],
    [1, 1, 3, 300],
  ],
  [
    [1, 20, 3, 1100],
    [1, 20, 3, 1],
  ],
];

const cases = BINARIES.flatMap((kind) => {
  const of = ([a, b]: readonly [Shape, Shape], large: boolean): OpCase<'a' | 'b', Attrs> => ({
    shapes: { a, b },
    attrs: { kind },
    draw: drawOf(kind) ?? {},
    large,
    samples: large ? 6 : 40,
  });
  const common = kind === 'mul' || kind === 'div' ? LARGE : [];
  return [...PAIRS.map((pair) => of(pair, false)), ...common.map((pair) => of(pair, true))];
});

describe('ops: binary', () => {
  checkOp<'a' | 'b', Attrs>(
    {
      name: 'binary',
      inputs: { a: {}, b: {} },
      wrt: ['a', 'b'],
      floor: 2e-6,
      build: ({ a, b }, { kind }) => ({ y: binary(a, b, kind) }),
      wrong: [
        {
          shapes: { b: [2, 5, 3, 2] },
          text: /\[binary\] Expected maps whose axes are equal or 1 for a, b but received "\(2, 5, 3, 4\) in layout maps, \(2, 5, 3, 2\)/,
        },
        { shapes: { b: [2, 5] }, text: /\[binary\] Expected maps .* \(2, 5\) in layout rows/ },
        {
          shapes: {},
          attrs: { kind: 'mod' as Binary },
          text: /\[binary\] Expected one of add, .*, pow for kind/,
          code: 'E_ARGUMENT',
        },
      ],
    },
    ({ a, b }, { kind }, f) => {
      const y = new Grid(sizes(a).map((size, axis) => Math.max(size, sizes(b)[axis] ?? 1)));
      const value = (x: Grid, at: readonly number[]): number => {
        const [n = 0, c = 0, h = 0, w = 0] = at.map((i, axis) => (x.shape[axis] === 1 ? 0 : i));
        return x.at(n, c, h, w);
      };
      for (const at of y.cells()) y.set(f(FUNCTIONS[kind](value(a, at), value(b, at))), ...at);
      return { y };
    },
    cases,
  );

  for (const backend of backends()) {
    it(`ties, powers of zero and negative numbers, division by zero on ${backend}`, async () => {
      const run = async (kind: Binary, a: number[], b: number[]): Promise<number[][]> => {
        const graph = new Graph();
        const shape = [1, a.length, 1, 1];
        const [x, z] = [graph.input('a', shape), graph.input('b', shape)];
        const y = binary(x, z, kind);
        graph.output('y', y);
        const found = gradient([{ of: y, gradient: graph.constant(3, shape) }], [x, z]);
        found.forEach((value, i) => value && graph.output(`d${String(i)}`, value));
        const values = { a: Float32Array.from(a), b: Float32Array.from(b) };
        const got = await runGraph(graph, values, { backend });
        return [got.y, got.d0, got.d1].map((array) => Array.from(array ?? []));
      };
      for (const kind of ['max', 'min'] as const) {
        expect(await run(kind, [2, -1], [2, -1])).to.deep.equal([
          [2, -1],
          [3, 3],
          [0, 0],
        ]);
        expect((await run(kind, [NaN, 1], [1, NaN]))[0]).to.deep.equal([NaN, NaN]);
      }
      const [powers] = await run('pow', [0, 0, -2, -2, 0, 4, -2], [0, 2, 3, 2, -1, -0.5, 0.5]);
      expect(powers).to.deep.equal([1, 0, -8, 4, Infinity, 0.5, NaN]);
      const [, by, exponent] = await run('pow', [0, 0, -2], [0, 2, 3]);
      expect([by, exponent?.slice(0, 2)]).to.deep.equal([
        [0, 0, 36],
        [0, 0],
      ]);
      expect((await run('div', [1, 0, -1], [0, 0, 0]))[0]).to.deep.equal([
        Infinity,
        NaN,
        -Infinity,
      ]);
    });
  }
});

describe('ops: asMaps', () => {
  checkOp<'x' | 'b', object>(
    {
      name: 'asMaps',
      inputs: { x: {}, b: {} },
      wrt: ['x', 'b'],
      build: ({ x, b }) => ({ y: binary(b, asMaps(relu(x)), 'mul') }),
    },
    ({ x, b }) => {
      const [, C = 1, H = 1, W = 1] = b.shape;
      const flat = x.data.length === b.data.length;
      const y = b.map((value, i) => {
        const j = flat ? i : Math.floor(i / (C * H * W)) * C + (Math.floor(i / (H * W)) % C);
        return value * Math.max(x.data[x.shape.length === 1 ? j % C : j] ?? NaN, 0);
      });
      return { y };
    },
    [
      { shapes: { x: [2, 21], b: [2, 21, 3, 4] }, attrs: {}, draw: { x: distinct() } },
      { shapes: { x: [21], b: [2, 21, 3, 4] }, attrs: {}, draw: { x: distinct() } },
      {
        shapes: { x: [2, 60], b: [2, 5, 3, 4] },
        chw: { x: [5, 3, 4] },
        attrs: {},
        draw: { x: distinct() },
      },
    ],
  );

  it('is the way back from flatten, leaves maps alone, refuses scalars and weights', async () => {
    const graph = new Graph();
    const maps = graph.input('x', [2, 5, 3, 4]);
    const back = asMaps(flatten(maps));
    expect([back.shape, back.layout, back.chw]).to.deep.equal([[2, 5, 3, 4], 'maps', undefined]);
    expect(asMaps(maps)).to.equal(maps);
    const w = graph.input('w', [2, 3], { layout: 'linear_weight' });
    for (const wrong of [w, graph.input('s', [])]) {
      await failure('E_SHAPE', /\[asMaps\] Expected rows \(N, F\) or \(F\) for x/, () =>
        asMaps(wrong),
      );
    }
  });
});
