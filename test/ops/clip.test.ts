import { clip } from '../../lib/engine/ops/index.js';
import { checkOp } from '../support/check_op.js';
import { distinct } from '../support/draw.js';

describe('ops: clip', () => {
  checkOp<'x', { lo: number; hi: number }>(
    {
      name: 'clip',
      inputs: { x: { draw: distinct() } },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ y: clip(x, attrs) }),
      wrong: [
        {
          shapes: {},
          attrs: { lo: 1, hi: 0 },
          text: /\[clip\] Expected lo <= hi/,
          code: 'E_ARGUMENT',
        },
        {
          shapes: {},
          attrs: { lo: NaN, hi: 0 },
          text: /\[clip\] Expected lo <= hi/,
          code: 'E_ARGUMENT',
        },
      ],
    },
    ({ x }, { lo, hi }) => ({
      y: x.map((value) => Math.min(Math.max(value, Math.fround(lo)), Math.fround(hi))),
    }),
    [
      { shapes: { x: [2, 5, 3, 4] }, attrs: { lo: -0.51, hi: 0.72 } },
      // limits that move the zeros of the padding
      { shapes: { x: [2, 5, 3, 4] }, attrs: { lo: 0.23, hi: 1 } },
      { shapes: { x: [3, 17] }, attrs: { lo: -1, hi: -0.25 } },
      { shapes: { x: [] }, attrs: { lo: 0.5, hi: 0.5 } },
      { shapes: { x: [5] }, attrs: { lo: 0.1, hi: 6 } },
      { shapes: { x: [2, 60] }, chw: { x: [20, 1, 3] }, attrs: { lo: 0.1, hi: 6 } },
      { shapes: { x: [2, 40, 15, 15] }, attrs: { lo: 0, hi: 0.6 }, large: true },
    ],
  );
});
