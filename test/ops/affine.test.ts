import { affine } from '../../lib/engine/ops/index.js';
import { checkOp } from '../support/check_op.js';
import { distinct } from '../support/draw.js';
import { ofChannel } from '../support/grid.js';

describe('ops: affine', () => {
  checkOp<'x' | 'scale' | 'shift', { relu?: boolean }>(
    {
      name: 'affine',
      inputs: { x: { draw: distinct() }, scale: {}, shift: {} },
      wrt: ['x'],
      build: ({ x, scale, shift }, attrs) => ({ y: affine(x, scale, shift, attrs) }),
      wrong: [
        {
          shapes: { scale: [4] },
          text: /\[affine\] Expected scale of shape \(5\), since x is \(2, 5, 3, 4\)/,
        },
        { shapes: { shift: [6] }, text: /\[affine\] Expected shift of shape \(C\) with C = 5/ },
        { shapes: { scale: [1, 5] }, text: /\[affine\] Expected scale of shape \(5\)/ },
        { shapes: { scale: [1] }, text: /\[affine\] Expected scale of shape \(5\)/ },
      ],
    },
    ({ x, scale, shift }, { relu = false }, f) => ({
      y: x.map((value, i) => {
        const y = f(f(ofChannel(scale, x, i) * value) + ofChannel(shift, x, i));
        return relu ? Math.max(y, 0) : y;
      }),
    }),
    [
      { shapes: { x: [2, 5, 3, 4], scale: [5], shift: [5] }, attrs: {} },
      { shapes: { x: [2, 5, 3, 4], scale: [5], shift: [5] }, attrs: { relu: true } },
      { shapes: { x: [1, 1, 3, 3], scale: [1], shift: [1] }, attrs: {} },
      { shapes: { x: [3, 35, 1, 1], scale: [35], shift: [35] }, attrs: { relu: true } },
      { shapes: { x: [3, 17], scale: [17], shift: [17] }, attrs: {} },
      { shapes: { x: [7], scale: [7], shift: [7] }, attrs: { relu: true } },
      { shapes: { x: [4, 1], scale: [1], shift: [1] }, attrs: {} },
      { shapes: { x: [2, 60], scale: [60], shift: [60] }, chw: { x: [20, 1, 3] }, attrs: {} },
      { shapes: { x: [2, 30], scale: [30], shift: [30] }, chw: { x: [5, 3, 2] }, attrs: {} },
      {
        shapes: { x: [2, 40, 37, 31], scale: [40], shift: [40] },
        attrs: { relu: true },
        large: true,
        samples: 10,
      },
    ],
  );
});
