import { expect } from 'chai';
import { gradient } from '../../lib/engine/grad.js';
import { Graph } from '../../lib/engine/graph.js';
import { klDivergence } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { normal, seeded } from '../support/draw.js';
import { backends, runGraph, type Arrays } from '../support/engine.js';
import { Grid, sizes, type Round } from '../support/grid.js';

type Case = OpCase<'x' | 'target', object>;

function of(N: number, F: number, large = false): Case {
  return { shapes: { x: [N, F], target: [N, F] }, attrs: {}, large };
}

// log softmax(x[n])
function logSoftmax(x: Grid, n: number, f: Round): number[] {
  const [, F] = sizes(x);
  const row = Array.from({ length: F }, (_, k) => x.at(n, k));
  const top = Math.max(...row);
  const sum = row.reduce((total, value) => f(total + f(Math.exp(f(value - top)))), 0);
  return row.map((value) => f(f(value - top) - f(Math.log(sum))));
}

// loss = mean_n sum_f p (log p - log q), p = softmax(target), q = softmax(x)
function divergence(x: Grid, target: Grid, f: Round): number {
  const [N] = sizes(x);
  let total = 0;
  for (let n = 0; n < N; n++) {
    const q = logSoftmax(x, n, f);
    logSoftmax(target, n, f).forEach((logP, k) => {
      const p = f(Math.exp(logP));
      if (p > 0) total = f(total + f(p * f(logP - (q[k] ?? NaN))));
    });
  }
  return f(total / N);
}

/** Loss and its gradient with respect to x, of one graph. */
async function run(
  N: number,
  values: Arrays & { x: Float32Array; target: Float32Array },
  backend: ReturnType<typeof backends>[number] = 'cpu',
): Promise<{ loss: number; dx: number[] }> {
  const graph = new Graph();
  const shape = [N, values.x.length / N];
  const x = graph.input('x', shape);
  const loss = klDivergence(x, graph.input('target', shape));
  const [dx] = gradient([{ of: loss }], [x]);
  if (!dx) throw new Error('no gradient');
  graph.output('loss', loss);
  graph.output('dx', dx);
  const got = await runGraph(graph, values, { backend });
  return { loss: got.loss?.[0] ?? NaN, dx: [...(got.dx ?? [])] };
}

describe('ops: kl_divergence', () => {
  checkOp<'x' | 'target', object>(
    {
      name: 'kl_divergence',
      inputs: { x: {}, target: {} },
      wrt: ['x'],
      build: ({ x, target }) => ({ loss: klDivergence(x, target) }),
      wrong: [
        {
          shapes: { target: [4, 5] },
          text: /\[kl_divergence\] Expected target of shape .*N = 3, as x has/,
        },
        {
          shapes: { target: [3, 6] },
          text: /\[kl_divergence\] Expected target of shape .*F = 5, as x has/,
        },
        { shapes: { x: [3] }, text: /\[kl_divergence\] Expected x of shape \(N, F\)/ },
      ],
    },
    ({ x, target }, _, f) => ({ loss: new Grid([], [divergence(x, target, f)]) }),
    [
      of(3, 5),
      of(1, 2),
      of(4, 1),
      of(7, 17),
      { ...of(2, 60), chw: { x: [5, 3, 4], target: [5, 3, 4] } },
      { ...of(3, 294), chw: { x: [21, 2, 7], target: [21, 2, 7] } },
      { ...of(33, 1000, true), samples: 10 },
    ],
  );

  for (const backend of backends()) {
    it(`is exact where the two are near each other, and 0 where they are equal, on ${backend}`, async () => {
      const [N, F] = [3, 40];
      const noise = normal(seeded('kl noise'), N * F);
      const target = Float32Array.from(normal(seeded('kl target'), N * F));
      const x = target.map((value, i) => value + 1e-4 * (noise[i] ?? NaN));
      const near = await run(N, { x, target }, backend);
      const grids = [x, target].map((data) => new Grid([N, F], data)) as [Grid, Grid];
      const want = divergence(...grids, (value) => value);
      expect(want).to.be.within(1e-9, 1e-8);
      expect(near.loss / want).to.be.closeTo(1, 1e-6);
      const same = await run(N, { x: target, target }, backend);
      expect(same.loss).to.equal(0);
      expect(same.dx.every((value) => value === 0)).to.equal(true);
    });

    it(`stands large and infinite logits on ${backend}`, async () => {
      const x = Float32Array.of(1e4, 1e4, -1e4, 0, -Infinity, 0);
      const target = Float32Array.of(1e4, -1e4, -Infinity, 0, -Infinity, -Infinity);
      const { loss, dx } = await run(2, { x, target }, backend);
      expect(loss).to.be.closeTo(Math.LN2, 1e-6);
      expect(dx).to.deep.equal([-0.25, 0.25, 0, -0.25, 0, 0.25]);
      const impossible = await run(1, { x: x.slice(3), target: x.slice(0, 3) }, backend);
      expect(impossible.loss).to.equal(Infinity);
    });
  }

  it('the target has no gradient', () => {
    const graph = new Graph();
    const [x, target] = [graph.input('x', [2, 3]), graph.input('target', [2, 3])];
    expect(gradient([{ of: klDivergence(x, target) }], [target])).to.deep.equal([undefined]);
  });
});
