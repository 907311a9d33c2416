import { prelu } from '../../lib/engine/ops/index.js';
import { checkOp } from '../support/check_op.js';
import { distinct } from '../support/draw.js';
import { ofChannel } from '../support/grid.js';

describe('ops: prelu', () => {
  checkOp<'x' | 'slope', object>(
    {
      name: 'prelu',
      inputs: { x: { draw: distinct() }, slope: {} },
      wrt: ['x'],
      build: ({ x, slope }) => ({ y: prelu(x, slope) }),
      wrong: [
        {
          shapes: { slope: [4] },
          text: /\[prelu\] Expected slope of shape \(5\) or \(1\), since x is \(2, 5, 3, 4\)/,
        },
        { shapes: { slope: [] }, text: /\[prelu\] Expected slope of shape \(5\) or \(1\)/ },
      ],
    },
    ({ x, slope }, _, f) => ({
      y: x.map((value, i) => (value < 0 ? f(ofChannel(slope, x, i) * value) : value)),
    }),
    [
      { shapes: { x: [2, 5, 3, 4], slope: [5] }, attrs: {} },
      { shapes: { x: [2, 5, 3, 4], slope: [1] }, attrs: {} },
      { shapes: { x: [3, 17], slope: [17] }, attrs: {} },
      { shapes: { x: [3, 17], slope: [1] }, attrs: {} },
      { shapes: { x: [2, 60], slope: [60] }, chw: { x: [20, 1, 3] }, attrs: {} },
      { shapes: { x: [2, 60], slope: [1] }, chw: { x: [20, 1, 3] }, attrs: {} },
      { shapes: { x: [2, 40, 37, 31], slope: [40] }, attrs: {}, large: true, samples: 10 },
    ],
  );
});
