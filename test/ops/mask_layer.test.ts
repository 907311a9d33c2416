import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { maskLayer } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { distinct } from '../support/draw.js';
import { runGraph } from '../support/engine.js';
import { Grid, sizes, type Round } from '../support/grid.js';

interface Attrs {
  beta: number;
}

interface Rest {
  /** Width of the maps, default n. */
  m?: number;
  large?: boolean;
}

/** First argmax of each map, (N, D). */
function peaks(x: Grid): Grid {
  const [N, D, n, m] = sizes(x);
  const peak = new Grid([N, D]);
  for (const [image, d] of peak.cells()) {
    const cells = Array.from({ length: n * m }, (_, i) => x.at(image, d, Math.floor(i / m), i % m));
    peak.set(cells.indexOf(Math.max(...cells)), image, d);
  }
  return peak;
}

/** v * max(1 - beta |[i,j] - mu|_1 / sqrt(n m), 0) */
function masked(v: Grid, peak: Grid, beta: number, f: Round): Grid {
  const [, , n, m] = sizes(v);
  const slope = f(Math.fround(beta) / f(Math.sqrt(n * m)));
  const y = new Grid(v.shape);
  for (const [image, d, i, j] of v.cells()) {
    const mu = peak.at(image, d);
    const distance = Math.abs(i - Math.floor(mu / m)) + Math.abs(j - (mu % m));
    const mask = Math.max(f(1 - f(slope * distance)), 0);
    y.set(f(v.at(image, d, i, j) * mask), image, d, i, j);
  }
  return y;
}

function of(N: number, D: number, n: number, beta: number, rest: Rest = {}): OpCase<'x', Attrs> {
  const { m = n, large = false } = rest;
  return { shapes: { x: [N, D, n, m] }, attrs: { beta }, large };
}

describe('ops: mask_layer', () => {
  checkOp<'x', Attrs>(
    {
      name: 'mask_layer',
      inputs: { x: { draw: distinct() } },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ ...maskLayer(x, attrs) }),
      closedForm: ({ x }, g, { beta }, f) => ({ x: masked(g, peaks(x), beta, f) }),
      wrong: [
        { shapes: { x: [2, 3] }, text: /\[mask_layer\] Expected x of shape \(N, D, n, m\)/ },
        { shapes: {}, attrs: { beta: 0 }, text: /a number > 0 for beta/, code: 'E_ARGUMENT' },
      ],
    },
    ({ x }, { beta }, f) => ({ y: masked(x, peaks(x), beta, f), peak: peaks(x) }),
    [
      of(2, 3, 4, 4),
      of(1, 17, 7, 4),
      of(3, 1, 1, 4),
      of(2, 5, 5, 1.3),
      of(2, 5, 5, 4, { m: 8 }),
      of(1, 17, 7, 1.3, { m: 4 }),
      of(3, 2, 4, 2, { m: 13 }),
      of(4, 40, 14, 4, { large: true }),
    ],
  );

  it('measures distances by sqrt(n m)', async () => {
    const graph = new Graph();
    graph.output('y', maskLayer(graph.input('x', [1, 1, 2, 8]), { beta: 1 }).y);
    const x = new Float32Array(16).fill(1);
    x[9] = 2; // peak in row 1, column 1; s = 4
    const { y } = await runGraph(graph, { x });
    const row = [0.5, 0.75, 0.5, 0.25, 0, 0, 0, 0];
    expect([...(y ?? [])]).to.deep.equal([...row, 0.75, 2, 0.75, 0.5, 0.25, 0, 0, 0]);
  });

  it('ties: the first maximum; a dead map peaks at 0', async () => {
    const graph = new Graph();
    const { y, peak } = maskLayer(graph.input('x', [1, 2, 2, 2]));
    graph.output('y', y);
    graph.output('peak', peak);
    const got = await runGraph(graph, { x: Float32Array.of(1, 3, 3, 0, 0, 0, 0, 0) });
    expect([...(got.peak ?? [])]).to.deep.equal([1, 0]);
    expect([...(got.y ?? [])]).to.deep.equal([0, 3, 0, 0, 0, 0, 0, 0]);
  });
});
