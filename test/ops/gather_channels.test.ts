import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { gatherChannels } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { integers, type Draw } from '../support/draw.js';
import { backends, runGraph } from '../support/engine.js';
import { Grid, sizes } from '../support/grid.js';

type Names = 'x' | 'index';

function of(C: number, K: number, index: Draw, large = false): OpCase<Names, object> {
  const [H, W] = large ? [14, 14] : [3, 4];
  return { shapes: { x: [2, C, H, W], index: [K] }, attrs: {}, draw: { index }, large };
}

const rule =
  (at: (k: number) => number): Draw =>
  (_, count) =>
    Array.from({ length: count }, (_, k) => at(k));
/** Channel shuffle: (groups, C / groups) transposed. */
const shuffle = (C: number, groups: number): Draw =>
  rule((k) => (k % groups) * (C / groups) + Math.floor(k / groups));

describe('ops: gather_channels', () => {
  checkOp<Names, object>(
    {
      name: 'gather_channels',
      inputs: { x: {}, index: { dtype: 'i32' } },
      wrt: ['x'],
      build: ({ x, index }) => ({ y: gatherChannels(x, index) }),
      wrong: [
        { shapes: { x: [2, 5] }, text: /\[gather_channels\] Expected x of shape \(N, C, H, W\)/ },
        { shapes: { index: [2, 3] }, text: /\[gather_channels\] Expected index of shape \(K\)/ },
      ],
    },
    // y[n, k] = x[n, index[k]]
    ({ x, index }) => {
      const [N, , H, W] = sizes(x);
      const y = new Grid([N, index.data.length, H, W]);
      for (const [n, k, i, j] of y.cells()) y.set(x.at(n, index.at(k), i, j), n, k, i, j);
      return { y };
    },
    [
      of(5, 7, integers(5)),
      of(1, 1, integers(1)),
      of(24, 24, shuffle(24, 3)),
      of(
        40,
        24,
        rule((k) => 16 + k),
      ), // a block in order, and a last one that ends with the source
      of(
        40,
        19,
        rule((k) => 16 + k),
      ), // ... that ends before it
      of(
        32,
        32,
        rule((k) => (k + 16) % 32),
      ),
      of(3, 50, integers(3)), // many of each
      of(37, 5, integers(37)), // many that nobody reads
      of(116, 116, shuffle(116, 2), true),
    ],
  );

  for (const backend of backends()) {
    it(`an index outside counts as the nearest inside on ${backend}`, async () => {
      const graph = new Graph();
      const index = graph.input('index', [4], { dtype: 'i32' });
      graph.output('y', gatherChannels(graph.input('x', [1, 3, 1, 1]), index));
      const values = {
        x: Float32Array.of(1, 2, 3),
        index: Int32Array.of(-1, 3, -(2 ** 31), 2 ** 31 - 1),
      };
      const { y } = await runGraph(graph, values, { backend });
      expect([...(y ?? [])]).to.deep.equal([1, 3, 1, 3]);
    });
  }
});
