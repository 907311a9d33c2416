import { mean } from '../../lib/engine/ops/index.js';
import { checkOp } from '../support/check_op.js';
import { Grid } from '../support/grid.js';

describe('ops: mean', () => {
  checkOp<'x', object>(
    {
      name: 'mean',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }) => ({ y: mean(x) }),
      wrong: [
        { shapes: { x: [2, 3] }, text: /\[mean\] Expected x of shape \(F\)/ },
        { shapes: { x: [] }, text: /\[mean\] Expected x of shape \(F\)/ },
      ],
    },
    ({ x }, _, f) => ({
      y: new Grid([], [f(x.data.reduce((sum, value) => f(sum + value), 0) / x.data.length)]),
    }),
    [
      { shapes: { x: [5] }, attrs: {} },
      { shapes: { x: [1] }, attrs: {} },
      { shapes: { x: [17] }, attrs: {} },
      { shapes: { x: [1000] }, attrs: {}, large: true },
    ],
  );
});
