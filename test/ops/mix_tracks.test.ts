import { mixTracks } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { constant } from '../support/draw.js';
import { Grid } from '../support/grid.js';

type Inputs = 'x_interp' | 'x_ordin' | 'w_p';

function of(
  x: [number, number, number, number],
  rest: Partial<OpCase<Inputs, object>> = {},
): OpCase<Inputs, object> {
  return { shapes: { x_interp: x, x_ordin: x, w_p: [] }, attrs: {}, ...rest };
}

describe('ops: mix_tracks', () => {
  checkOp<Inputs, object>(
    {
      name: 'mix_tracks',
      inputs: { x_interp: {}, x_ordin: {}, w_p: {} },
      wrt: ['x_interp', 'x_ordin', 'w_p'],
      build: ({ x_interp, x_ordin, w_p }) => ({ ...mixTracks(x_interp, x_ordin, w_p) }),
      wrong: [
        {
          shapes: { x_ordin: [2, 5, 4, 3] },
          text: /\[mix_tracks\] Expected x_ordin of the shape of x_interp, \(2, 5, 3, 4\)/,
        },
        { shapes: { w_p: [1] }, text: /\[mix_tracks\] Expected w_p of shape \(\)/ },
      ],
    },
    // y = p x_interp + (1 - p) x_ordin, p = sigmoid(w_p)
    ({ x_interp, x_ordin, w_p }, _, f) => {
      const p = f(1 / f(1 + f(Math.exp(-w_p.at()))));
      const mixed = (value: number, i: number): number =>
        f(f(p * value) + f(f(1 - p) * (x_ordin.data[i] ?? NaN)));
      return { y: x_interp.map(mixed), p: new Grid([], [p]) };
    },
    [
      of([2, 5, 3, 4]),
      of([1, 1, 1, 1]),
      of([2, 17, 2, 2], { draw: { w_p: constant(9) } }),
      of([2, 17, 2, 2], { draw: { w_p: constant(-120) } }),
      of([8, 48, 7, 7], { large: true, samples: 10 }),
    ],
  );
});
