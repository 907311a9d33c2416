import { meanSquare } from '../../lib/engine/ops/index.js';
import { checkOp } from '../support/check_op.js';
import { Grid } from '../support/grid.js';

describe('ops: mean_square', () => {
  checkOp<'x' | 'target', { weight: number }>(
    {
      name: 'mean_square',
      inputs: { x: {}, target: {} },
      wrt: ['x'],
      build: ({ x, target }, attrs) => ({ loss: meanSquare(x, target, attrs) }),
      wrong: [
        {
          shapes: { target: [3, 16] },
          text: /\[mean_square\] Expected target of the shape of x, \(3, 17\)/,
        },
      ],
    },
    // loss = weight * mean((x - target)^2)
    ({ x, target }, { weight }, f) => {
      const squares = x.map((value, i) => f(f(value - (target.data[i] ?? NaN)) ** 2));
      const sum = squares.data.reduce((total, square) => f(total + square), 0);
      return { loss: new Grid([], [f(f(Math.fround(weight) * sum) / x.data.length)]) };
    },
    [
      { shapes: { x: [3, 17], target: [3, 17] }, attrs: { weight: 1 } },
      { shapes: { x: [], target: [] }, attrs: { weight: 0.3 } },
      { shapes: { x: [2, 5, 3, 4], target: [2, 5, 3, 4] }, attrs: { weight: 2.5 } },
      {
        shapes: { x: [2, 60], target: [2, 60] },
        chw: { x: [5, 3, 4], target: [5, 3, 4] },
        attrs: { weight: 1 },
      },
      {
        shapes: { x: [64, 1000], target: [64, 1000] },
        attrs: { weight: 1 },
        large: true,
        samples: 10,
      },
    ],
  );
});
