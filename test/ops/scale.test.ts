import { scale } from '../../lib/engine/ops/index.js';
import { checkOp } from '../support/check_op.js';

describe('ops: scale', () => {
  checkOp<'x', { factor: number }>(
    {
      name: 'scale',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ y: scale(x, attrs) }),
    },
    ({ x }, { factor }, f) => ({ y: x.map((value) => f(Math.fround(factor) * value)) }),
    [
      { shapes: { x: [2, 5, 3, 4] }, attrs: { factor: 0.3 } },
      { shapes: { x: [] }, attrs: { factor: -1 } },
      { shapes: { x: [3, 17] }, attrs: { factor: 1e6 } },
      { shapes: { x: [2, 60] }, chw: { x: [20, 1, 3] }, attrs: { factor: 0 } },
      { shapes: { x: [2, 48, 19, 19] }, attrs: { factor: 1.7 }, large: true, samples: 20 },
    ],
  );
});
