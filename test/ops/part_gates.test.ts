import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { maskLayer, partGates, type PartGatesOptions } from '../../lib/engine/ops/index.js';
import {
  checkOp,
  type Grids,
  type OpCase,
  type OpUnderTest,
  type Reference,
} from '../support/check_op.js';
import { constant, distinct, seeded, uniform, type Draw } from '../support/draw.js';
import { runGraph } from '../support/engine.js';
import { Grid, sizes, type Round } from '../support/grid.js';

type Inputs = 'x' | 'alpha' | 'on';
type Attrs = Omit<PartGatesOptions, 'on'>;

/** Value and cell of each map's first maximum. */
function peaks(x: Grid): { value: Grid; cell: Grid } {
  const [N, D, n, m] = sizes(x);
  const [value, cell] = [new Grid([N, D]), new Grid([N, D])];
  for (const [image, d] of value.cells()) {
    const map = Array.from({ length: n * m }, (_, i) => x.at(image, d, Math.floor(i / m), i % m));
    value.set(Math.max(...map), image, d);
    cell.set(map.indexOf(Math.max(...map)), image, d);
  }
  return { value, cell };
}

/** Running mean over images of the peaks after this batch. */
function means(x: Grid, alpha: Grid, options: Attrs, f: Round): Grid {
  if (!options.training) return alpha;
  const { value } = peaks(x);
  const [N] = sizes(x);
  const momentum = Math.fround(options.momentum ?? 0.9);
  return alpha.map((old, d) => {
    let batch = 0;
    for (let n = 0; n < N; n++) batch = f(batch + value.at(n, d));
    batch = f(batch / N);
    return old < 0 ? batch : f(f(momentum * old) + f((1 - momentum) * batch));
  });
}

/** 1 / max(alpha, floor mean alpha), 0 where that is 0 */
function factors(alpha: Grid, options: Attrs, f: Round): Grid {
  const mean = f(alpha.data.reduce((sum, value) => f(sum + value), 0) / alpha.data.length);
  const least = f(Math.fround(options.floor ?? 0.05) * mean);
  return alpha.map((value) => (Math.max(value, least) > 0 ? f(1 / Math.max(value, least)) : 0));
}

interface Strengths {
  /** v factor cone, then its power t, (N, D, n, m). */
  base: Grid;
  e: Grid;
  /** sum_k e_k + tau^t, (N, n, m) */
  sum: Grid;
  t: number;
}

function strengths(x: Grid, factor: Grid, options: Attrs, f: Round): Strengths {
  const [N, , n, m] = sizes(x);
  const { value, cell } = peaks(x);
  const beta = Math.fround(options.beta ?? 14 / 9);
  const t = Math.fround(options.power ?? 4);
  const base = new Grid(x.shape);
  for (const [image, d, i, j] of x.cells()) {
    const mu = cell.at(image, d);
    const distance = Math.abs(i - Math.floor(mu / m)) + Math.abs(j - (mu % m));
    const cone = Math.max(f(1 - f(f(beta / f(Math.sqrt(n * m))) * distance)), 0);
    base.set(f(f(value.at(image, d) * factor.at(d)) * cone), image, d, i, j);
  }
  const e = base.map((height) => f(Math.max(height, Math.fround(1e-6)) ** t));
  const rest = f(Math.fround(options.tau ?? 0.2) ** t);
  const sum = new Grid([N, n, m]).map(() => rest);
  for (const [image, d, i, j] of x.cells()) {
    sum.set(f(sum.at(image, i, j) + e.at(image, d, i, j)), image, i, j);
  }
  return { base, e, sum, t };
}

function gates({ e, sum }: Strengths, on: Grid | undefined, f: Round): Grid {
  const [N, , n, m] = sizes(e);
  const y = new Grid([N, 1, n, m]);
  for (const [image, d, i, j] of e.cells()) {
    const part = f((on ? on.at(image, d) : 1) * f(e.at(image, d, i, j) / sum.at(image, i, j)));
    y.set(f(y.at(image, 0, i, j) + part), image, 0, i, j);
  }
  return y;
}

type Given = Pick<Grids<Inputs>, 'x' | 'alpha'> & { on?: Grid };

function reference({ x, alpha, on }: Given, attrs: Attrs, f: Round): Record<string, Grid> {
  const now = means(x, alpha, attrs, f);
  const factor = factors(now, attrs, f);
  return { gate: gates(strengths(x, factor, attrs, f), on, f), factor, alpha: now };
}

/** dx at the peaks: sum over cells of g (on - gate) / sum * t e / v, where the base is above 1e-6. */
function closedForm({ x, alpha, on }: Given, g: Grid, attrs: Attrs, f: Round): Grid {
  const found = strengths(x, factors(means(x, alpha, attrs, f), attrs, f), attrs, f);
  const gate = gates(found, on, f);
  const { value, cell } = peaks(x);
  const [N, D, , m] = sizes(x);
  const rise = new Grid([N, D]);
  for (const [n, d, i, j] of x.cells()) {
    if (found.base.at(n, d, i, j) <= 1e-6) continue;
    const share = f(found.e.at(n, d, i, j) / found.sum.at(n, i, j));
    const apart = f((on ? on.at(n, d) : 1) - gate.at(n, 0, i, j));
    rise.set(f(rise.at(n, d) + f(f(g.at(n, 0, i, j) * apart) * share)), n, d);
  }
  const dx = new Grid(x.shape);
  for (const [n, d] of rise.cells()) {
    const mu = cell.at(n, d);
    const slope = f(f(found.t * rise.at(n, d)) / value.at(n, d));
    if (value.at(n, d) > 0) dx.set(slope, n, d, Math.floor(mu / m), mu % m);
  }
  return dx;
}

function of(
  x: [number, number, number, number],
  attrs: Attrs,
  rest: Partial<OpCase<Inputs, Attrs>> = {},
): OpCase<Inputs, Attrs> {
  const [N, D] = x;
  return { shapes: { x, alpha: [D], on: [N, D] }, attrs, ...rest };
}

const switches: Draw = (random, count) => Array.from({ length: count }, () => random.int(2));

const op: OpUnderTest<Inputs, Attrs> = {
  name: 'part_gates',
  inputs: {
    x: { draw: distinct(-1, 2) },
    alpha: { state: true, draw: uniform(0.5, 2) },
    on: { draw: switches },
  },
  wrt: ['x'],
  build: ({ x, alpha, on }, attrs) => {
    const { gate, factor } = partGates(x, maskLayer(x).peak, alpha, { ...attrs, on });
    return { gate, factor };
  },
};

const refused = (attrs: Partial<Attrs>, text: RegExp) =>
  ({ shapes: {}, attrs: { training: false, ...attrs }, text, code: 'E_ARGUMENT' }) as const;
const fresh = constant(-1);
const still = { training: false };

describe('ops: part_gates', () => {
  // no running mean depends on the batch: the gradient is the derivative
  checkOp(
    {
      ...op,
      wrong: [
        {
          shapes: { alpha: [4] },
          text: /\[part_gates\] Expected alpha of shape .*D = 5, as x has/,
        },
        { shapes: { on: [2, 4] }, text: /\[part_gates\] Expected on of shape .*D = 5, as x has/ },
        refused({ beta: 0 }, /\[part_gates\] Expected a number > 0 for beta/),
        refused({ tau: 0 }, /\[part_gates\] Expected a number > 0 whose power .* for tau/),
        refused({ power: 0 }, /\[part_gates\] Expected a number >= 1 for power/),
      ],
    },
    reference,
    [
      of([2, 5, 4, 4], still),
      of([1, 37, 3, 5], { ...still, beta: 1, power: 3, tau: 0.5 }),
      of([3, 1, 1, 1], { ...still, tau: 1 }),
      of([2, 16, 4, 13], { ...still, floor: 0.9, power: 1 }),
      of([2, 3, 4, 4], still, { draw: { alpha: fresh } }), // nothing learnt: no gate
      of([4, 40, 14, 14], still, { large: true, samples: 10 }),
    ],
  );

  // alpha follows the batch, but counts as a constant
  const training = { training: true };
  const cases = [
    of([2, 5, 4, 4], training),
    of([3, 17, 5, 3], { ...training, momentum: 0.3 }, { draw: { alpha: fresh } }),
    of([2, 3, 4, 4], { ...training, beta: 4 }, { draw: { x: distinct(-2, 0) } }), // no part at all
    of([8, 20, 7, 7], training, { large: true, draw: { alpha: fresh } }),
  ];
  checkOp<Inputs, Attrs>(
    { ...op, closedForm: (given, g, attrs, f) => ({ x: closedForm(given, g, attrs, f) }) },
    reference,
    cases,
  );

  const all: Reference<'x' | 'alpha', Attrs> = reference;
  checkOp<'x' | 'alpha', Attrs>(
    {
      name: 'part_gates',
      inputs: { x: op.inputs.x, alpha: op.inputs.alpha },
      wrt: ['x'],
      build: ({ x, alpha }, attrs) => {
        const { gate, factor } = partGates(x, maskLayer(x).peak, alpha, attrs);
        return { gate, factor };
      },
      closedForm: (given, g, attrs, f) => ({ x: closedForm(given, g, attrs, f) }),
    },
    all,
    cases.map(({ shapes: { x, alpha }, ...rest }) => ({ ...rest, shapes: { x, alpha } })),
  );

  it('gates of single parts add up to that of all; a part off hands its places to nobody', async () => {
    const graph = new Graph();
    const x = graph.input('x', [4, 3, 5, 5]);
    const { gate } = partGates(x, maskLayer(x).peak, graph.input('alpha', [3]), {
      training: false,
      on: graph.input('on', [4, 3]),
    });
    graph.output('gate', gate);
    const one = Float32Array.from(distinct(0, 2)(seeded('part_gates'), 75));
    const image = new Float32Array(300);
    for (let n = 0; n < 4; n++) image.set(one, n * 75);
    const got = await runGraph(graph, {
      x: image,
      alpha: new Float32Array(3).fill(1),
      on: Float32Array.of(1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1),
    });
    for (let i = 0; i < 25; i++) {
      const [whole = 0, ...parts] = [0, 1, 2, 3].map((n) => got.gate?.[n * 25 + i] ?? NaN);
      expect(parts.reduce((sum, part) => sum + part)).to.be.closeTo(whole, 1e-6);
      expect(whole).to.be.within(0, 1);
    }
  });
});
