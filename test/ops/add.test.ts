import { add, addScaled } from '../../lib/engine/ops/index.js';
import { checkOp } from '../support/check_op.js';
import { Grid } from '../support/grid.js';

describe('ops: add', () => {
  checkOp<'a' | 'b', object>(
    {
      name: 'add',
      inputs: { a: {}, b: {} },
      wrt: ['a', 'b'],
      build: ({ a, b }) => ({ y: add(a, b) }),
      wrong: [
        {
          shapes: { b: [2, 5, 4, 3] },
          text: /\[add\] Expected b of the shape of a, \(2, 5, 3, 4\)/,
        },
        { shapes: { b: [2, 60] }, text: /maps for b but received "\(2, 60\) in layout rows"/ },
      ],
    },
    ({ a, b }, _, f) => ({ y: a.map((value, i) => f(value + (b.data[i] ?? NaN))) }),
    [
      { shapes: { a: [2, 5, 3, 4], b: [2, 5, 3, 4] }, attrs: {} },
      { shapes: { a: [], b: [] }, attrs: {} },
      { shapes: { a: [3, 17], b: [3, 17] }, attrs: {} },
      { shapes: { a: [4, 40, 21, 19], b: [4, 40, 21, 19] }, attrs: {}, large: true, samples: 10 },
    ],
  );

  checkOp<'a' | 'b' | 's', object>(
    {
      name: 'add_scaled',
      inputs: { a: {}, b: {}, s: {} },
      build: ({ a, b, s }) => ({ y: addScaled(a, b, s) }),
      wrong: [
        { shapes: { b: [2, 5, 3, 3] }, text: /\[add_scaled\] Expected b of the shape of a/ },
        { shapes: { s: [2] }, text: /\[add_scaled\] Expected s of shape \(\)/ },
      ],
    },
    ({ a, b, s }, _, f) => ({
      y: new Grid(
        a.shape,
        a.data.map((value, i) => f(value + f(s.at() * (b.data[i] ?? NaN)))),
      ),
    }),
    [
      { shapes: { a: [2, 5, 3, 4], b: [2, 5, 3, 4], s: [] }, attrs: {} },
      { shapes: { a: [3, 17], b: [3, 17], s: [] }, attrs: {} },
      {
        shapes: { a: [4, 40, 21, 19], b: [4, 40, 21, 19], s: [] },
        attrs: {},
        large: true,
        samples: 10,
      },
    ],
  );
});
