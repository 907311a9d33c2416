import { linear } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase, type Reference } from '../support/check_op.js';
import { Grid, sizes } from '../support/grid.js';

type Inputs = 'x' | 'w' | 'b';
interface Attrs {
  relu?: boolean;
  bias?: boolean;
}

/** y[n,o] = b[o] + sum_f x[n,f] w[o,f] */
const reference: Reference<Inputs, Attrs> = ({ x, w, b }, { relu, bias }, f) => {
  const [N, F] = sizes(x);
  const [O] = sizes(w);
  const y = new Grid([N, O]);
  for (const [n, o] of y.cells()) {
    let sum = bias === false ? 0 : b.at(o);
    for (let k = 0; k < F; k++) sum = f(sum + f(x.at(n, k) * w.at(o, k)));
    y.set(relu ? Math.max(sum, 0) : sum, n, o);
  }
  return { y };
};

function of(
  [N, F, O]: [number, number, number],
  attrs: Attrs = {},
  rest: Partial<OpCase<Inputs, Attrs>> = {},
): OpCase<Inputs, Attrs> {
  return { shapes: { x: [N, F], w: [O, F], b: [O] }, attrs, ...rest };
}

describe('ops: linear', () => {
  checkOp(
    {
      name: 'linear',
      inputs: { x: {}, w: { layout: 'linear_weight' }, b: {} },
      wrt: ['x', 'w', 'b'],
      build: ({ x, w, b }, { bias, relu }) => ({
        y: linear(x, w, bias === false ? undefined : b, { relu: relu ?? false }),
      }),
      wrong: [
        { shapes: { w: [4, 6] }, text: /\[linear\] Expected w of shape .*F = 5, as x has/ },
        { shapes: { b: [3] }, text: /\[linear\] Expected b of shape .*O = 4, as w has/ },
        { shapes: { x: [5] }, text: /\[linear\] Expected x of shape \(N, F\)/ },
      ],
    },
    reference,
    [
      of([3, 5, 4], { relu: true }),
      of([1, 1, 1]),
      of([7, 33, 18], { bias: false }),
      of([2, 16, 32], { relu: true }),
      of([3, 40, 17], {}, { chw: { x: [5, 2, 4], w: [5, 2, 4] } }),
      of([2, 72, 5], { relu: true }, { chw: { x: [18, 2, 2], w: [18, 2, 2] } }),
      // few outputs and many features: parts that are summed at the end
      of([5, 2100, 10], { relu: true }, { large: true, samples: 6 }),
      of([40, 1040, 34], {}, { large: true, samples: 2 }),
      // many outputs and more features than one stretch
      of([2, 1040, 260], {}, { large: true, samples: 2 }),
      of([1, 1152, 24], { bias: false }, { large: true, chw: { x: [32, 6, 6], w: [32, 6, 6] } }),
    ],
  );
});
