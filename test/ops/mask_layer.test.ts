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

/** First argmax of each map, (N, D). */
function peaks(x: Grid): Grid {
  const [N, D, n] = sizes(x);
  const peak = new Grid([N, D]);
  for (const [image, d] of peak.cells()) {
    const cells = Array.from({ length: n * n }, (_, i) => x.at(image, d, Math.floor(i / n), i % n));
    peak.set(cells.indexOf(Math.max(...cells)), image, d);
  }
  return peak;
}

/** v * max(1 - beta |[i,j] - mu|_1 / n, 0) */
function masked(v: Grid, peak: Grid, beta: number, f: Round): Grid {
  const [, , n] = sizes(v);
  const y = new Grid(v.shape);
  for (const [image, d, i, j] of v.cells()) {
    const mu = peak.at(image, d);
    const distance = Math.abs(i - Math.floor(mu / n)) + Math.abs(j - (mu % n));
    const mask = Math.max(f(1 - f(f(Math.fround(beta) / n) * distance)), 0);
    y.set(f(v.at(image, d, i, j) * mask), image, d, i, j);
  }
  return y;
}

function of(N: number, D: number, n: number, beta: number, large = false): OpCase<'x', Attrs> {
  return { shapes: { x: [N, D, n, n] }, attrs: { beta }, large };
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
        { shapes: { x: [2, 3, 4, 5] }, text: /\[mask_layer\] Expected x of shape \(N, D, n, n\)/ },
        { shapes: { x: [2, 3] }, text: /\[mask_layer\] Expected x of shape \(N, D, n, n\)/ },
        { shapes: {}, attrs: { beta: 0 }, text: /a number > 0 for beta/, code: 'E_ARGUMENT' },
      ],
    },
    ({ x }, { beta }, f) => ({ y: masked(x, peaks(x), beta, f), peak: peaks(x) }),
    [of(2, 3, 4, 4), of(1, 17, 7, 4), of(3, 1, 1, 4), of(2, 5, 5, 1.3), of(4, 40, 14, 4, true)],
  );

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
