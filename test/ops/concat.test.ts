import { Graph } from '../../lib/engine/graph.js';
import { concat } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { Grid, sizes } from '../support/grid.js';
import { failure } from '../support/performer.js';

function of(A: number, B: number, large = false): OpCase<'a' | 'b', object> {
  return { shapes: { a: [2, A, 3, 4], b: [2, B, 3, 4] }, attrs: {}, large };
}

describe('ops: concat', () => {
  checkOp<'a' | 'b', object>(
    {
      name: 'concat',
      inputs: { a: {}, b: {} },
      wrt: ['a', 'b'],
      build: ({ a, b }) => ({ y: concat(a, b) }),
      wrong: [
        { shapes: { b: [2, 5, 3, 5] }, text: /\[concat\] Expected b of shape .*W = 4, as a has/ },
        { shapes: { b: [1, 5, 3, 4] }, text: /\[concat\] Expected b of shape .*N = 2, as a has/ },
        { shapes: { b: [2, 5] }, text: /\[concat\] Expected maps \(N, C, H, W\) for a, b/ },
      ],
    },
    ({ a, b }) => {
      const [N, A, H, W] = sizes(a);
      const y = new Grid([N, A + sizes(b)[1], H, W]);
      for (const [n, c, i, j] of y.cells()) {
        y.set(c < A ? a.at(n, c, i, j) : b.at(n, c - A, i, j), n, c, i, j);
      }
      return { y };
    },
    [of(3, 5), of(1, 1), of(16, 16), of(16, 5), of(5, 16), of(20, 33), of(64, 64, true)],
  );

  it('names both arguments when one is not maps', async () => {
    const graph = new Graph();
    const rows = graph.input('rows', [2, 3]);
    await failure('E_SHAPE', /a, b but received "rows, rows"/, () => concat(rows, rows));
  });
});
