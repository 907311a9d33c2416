import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { compete, type CompeteOptions } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase, type OpUnderTest, type Reference } from '../support/check_op.js';
import { distinct, uniform, type Draw } from '../support/draw.js';
import { runGraph } from '../support/engine.js';
import { Grid, sizes, type Round } from '../support/grid.js';

type Inputs = 'x' | 'factor';
type Attrs = Omit<CompeteOptions, 'factor'>;

/** y_d = z_d e_d / (sum_k e_k + tau^t), e_d = max(scale z_d, 1e-6)^t, z_d = factor_d x_d */
function competed(x: Grid, factor: Grid | undefined, options: Attrs, f: Round): Grid {
  const [N, D, H, W] = sizes(x);
  const [scale, tau] = [Math.fround(options.scale ?? 1), Math.fround(options.tau ?? 0.2)];
  const t = Math.fround(options.power ?? 4);
  const z = x.map((value, i) =>
    factor ? f(value * factor.at(Math.floor(i / (H * W)) % D)) : value,
  );
  const e = z.map((value) => f(Math.max(f(scale * value), Math.fround(1e-6)) ** t));
  const sum = new Grid([N, H, W]);
  for (const [n, d, i, j] of e.cells()) sum.set(f(sum.at(n, i, j) + e.at(n, d, i, j)), n, i, j);
  const y = new Grid(x.shape);
  for (const [n, d, i, j] of y.cells()) {
    const share = f(e.at(n, d, i, j) / f(sum.at(n, i, j) + f(tau ** t)));
    y.set(f(z.at(n, d, i, j) * share), n, d, i, j);
  }
  return y;
}

function of(
  x: [number, number, number, number],
  attrs: Attrs,
  rest: Partial<OpCase<Inputs, Attrs>> = {},
): OpCase<Inputs, Attrs> {
  return { shapes: { x, factor: [x[1]] }, attrs, ...rest };
}

/** Half of the values 0, the others apart from 0: no step of a difference passes the kink. */
const sparse: Draw = (random, count) =>
  Array.from(distinct(-2, 2)(random, count), (value) => (value < 0.05 ? 0 : value));

const reference: Reference<Inputs, Attrs> = ({ x, factor }, attrs, f) => ({
  y: competed(x, factor, attrs, f),
});

const op: OpUnderTest<Inputs, Attrs> = {
  name: 'compete',
  inputs: { x: { draw: distinct(0.05, 2) }, factor: { draw: uniform(0.5, 2) } },
  wrt: ['x'],
  build: ({ x, factor }, attrs) => ({ y: compete(x, { ...attrs, factor }) }),
};

const refused = (attrs: Attrs, text: RegExp) =>
  ({ shapes: {}, attrs, text, code: 'E_ARGUMENT' }) as const;

describe('ops: compete', () => {
  checkOp(
    {
      ...op,
      wrong: [
        { shapes: { x: [2, 6] }, text: /\[compete\] Expected x of shape \(N, D, H, W\)/ },
        { shapes: { factor: [4] }, text: /\[compete\] Expected factor of shape \(5\)|D = 5/ },
        refused({ scale: 0 }, /\[compete\] Expected a number > 0 for scale/),
        refused({ power: 0.5 }, /\[compete\] Expected a number >= 1 for power/),
        refused({ tau: 1e-20 }, /\[compete\] Expected a number > 0 whose power float32 can hold/),
      ],
    },
    reference,
    [
      of([2, 5, 3, 4], {}),
      of([1, 37, 2, 3], { scale: 2, power: 3, tau: 0.5 }),
      of([2, 16, 1, 1], { power: 1, tau: 1 }),
      of([3, 1, 4, 2], { scale: 0.1 }),
      of([2, 17, 3, 3], {}, { draw: { x: sparse } }),
      of([4, 40, 14, 14], { scale: 2 }, { large: true, samples: 10 }),
    ],
  );

  checkOp<'x', Attrs>(
    {
      name: 'compete',
      inputs: { x: op.inputs.x },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ y: compete(x, attrs) }),
    },
    ({ x }, attrs, f) => ({ y: competed(x, undefined, attrs, f) }),
    [
      { shapes: { x: [2, 20, 3, 5] }, attrs: { power: 2.5 } },
      { shapes: { x: [2, 3, 3, 5] }, attrs: { scale: 3 } },
    ],
  );

  it('the strongest keeps its place, silence stays silent', async () => {
    const graph = new Graph();
    graph.output('y', compete(graph.input('x', [1, 2, 1, 3]), { tau: 0.01 }));
    const { y } = await runGraph(graph, { x: Float32Array.of(10, 0, 1, 1, 0, 1) });
    const [strong = 0, silent, half = 0, weak = 1] = y ?? [];
    expect(strong).to.be.closeTo(10, 0.01);
    expect(weak).to.be.below(0.001);
    expect(silent).to.equal(0);
    expect(half).to.be.closeTo(0.5, 1e-6);
  });
});
