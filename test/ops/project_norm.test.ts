import { projectNorm } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { constant, uniform } from '../support/draw.js';
import { Grid, sizes } from '../support/grid.js';

type Inputs = 'w' | 'norm';

function of(
  w: [number, number, number, number],
  rest: Partial<OpCase<Inputs, object>> = {},
): OpCase<Inputs, object> {
  return { shapes: { w, norm: [w[0]] }, attrs: {}, ...rest };
}

describe('ops: project_norm', () => {
  checkOp<Inputs, object>(
    {
      name: 'project_norm',
      inputs: { w: { layout: 'conv_weight', state: true }, norm: { draw: uniform(0.5, 2) } },
      build: ({ w, norm }) => ({ w_out: projectNorm(w, norm) }),
      wrong: [
        {
          shapes: { norm: [4] },
          text: /\[project_norm\] Expected norm of shape .*O = 5, as w has/,
        },
      ],
    },
    // w[o] norm[o] / |w[o]|; a filter of zeros stays
    ({ w, norm }, _, f) => {
      const [O] = sizes(w);
      const squares = new Grid([O]);
      for (const [o, c, r, s] of w.cells()) {
        squares.set(f(squares.at(o) + f(w.at(o, c, r, s) ** 2)), o);
      }
      const w_out = new Grid(w.shape);
      for (const [o, c, r, s] of w.cells()) {
        const gain = squares.at(o) > 0 ? f(norm.at(o) / f(Math.sqrt(squares.at(o)))) : 1;
        w_out.set(f(w.at(o, c, r, s) * gain), o, c, r, s);
      }
      return { w_out, w: w_out };
    },
    [
      of([5, 3, 3, 3]),
      of([1, 1, 1, 1]),
      of([17, 20, 1, 2]),
      of([3, 2, 3, 3], { draw: { w: constant(0) } }),
      of([40, 33, 3, 3], { large: true }),
    ],
  );
});
