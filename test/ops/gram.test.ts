import { gram } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { Grid, sizes } from '../support/grid.js';

const of = (x: [number, number, number, number], large = false): OpCase<'x', object> => ({
  shapes: { x },
  attrs: {},
  large,
});

describe('ops: gram', () => {
  checkOp<'x', object>(
    {
      name: 'gram',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }) => ({ y: gram(x) }),
      wrong: [{ shapes: { x: [2, 3] }, text: /\[gram\] Expected x of shape \(N, D, H, W\)/ }],
    },
    // y[d,e] = sum_nij x[n,d,i,j] x[n,e,i,j]
    ({ x }, _, f) => {
      const [, D] = sizes(x);
      const y = new Grid([D, D, 1, 1]);
      for (const [n, d, i, j] of x.cells()) {
        for (let e = 0; e < D; e++) {
          y.set(f(y.at(d, e, 0, 0) + f(x.at(n, d, i, j) * x.at(n, e, i, j))), d, e, 0, 0);
        }
      }
      return { y };
    },
    [
      of([2, 5, 3, 4]),
      of([1, 1, 1, 1]),
      of([1, 33, 4, 1]),
      of([3, 50, 5, 7]),
      of([2, 81, 14, 14], true),
    ],
  );
});
