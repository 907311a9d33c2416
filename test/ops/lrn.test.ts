import { lrn, type LrnOptions } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { rectified } from '../support/draw.js';
import { Grid, sizes } from '../support/grid.js';

type Attrs = Required<LrnOptions>;

function of(C: number, attrs: Attrs, rest: Partial<OpCase<'x', Attrs>> = {}): OpCase<'x', Attrs> {
  return { shapes: { x: [2, C, 3, 4] }, attrs, ...rest };
}

describe('ops: lrn', () => {
  checkOp<'x', Attrs>(
    {
      name: 'lrn',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ y: lrn(x, attrs) }),
      wrong: [
        { shapes: { x: [2, 5] }, text: /\[lrn\] Expected x of shape \(N, C, H, W\)/ },
        {
          shapes: {},
          attrs: { size: 0, alpha: 1, beta: 1, k: 1 },
          text: /\[lrn\] Expected an integer >= 1 for size/,
          code: 'E_ARGUMENT',
        },
      ],
    },
    // y = x / (k + alpha / size * sum of x^2 over c - floor((size - 1) / 2) .. c + ceil((size - 1) / 2))^beta
    ({ x }, { size, alpha, beta, k }, f) => {
      const y = new Grid(x.shape);
      const [, C] = sizes(x);
      for (const [n, c, i, j] of y.cells()) {
        let sum = 0;
        const first = c - Math.floor((size - 1) / 2);
        const last = c + Math.ceil((size - 1) / 2);
        for (let d = Math.max(first, 0); d <= Math.min(last, C - 1); d++) {
          sum = f(sum + f(x.at(n, d, i, j) ** 2));
        }
        const base = f(Math.fround(k) + f(f(Math.fround(alpha) / size) * sum));
        y.set(f(x.at(n, c, i, j) / f(base ** Math.fround(beta))), n, c, i, j);
      }
      return { y };
    },
    [
      of(7, { size: 5, alpha: 0.8, beta: 0.75, k: 1 }),
      of(1, { size: 5, alpha: 1e-4, beta: 0.75, k: 2 }),
      of(20, { size: 1, alpha: 0.5, beta: 0.5, k: 1 }),
      of(33, { size: 4, alpha: 0.9, beta: 0.6, k: 1.5 }),
      of(5, { size: 21, alpha: 2, beta: 1, k: 1 }),
      // zeros among the maps: a channel of 0 must not silence others
      of(16, { size: 5, alpha: 0.02, beta: 0.75, k: 2 }, { draw: { x: rectified } }),
      of(96, { size: 5, alpha: 1, beta: 0.75, k: 1 }, { large: true }),
    ],
  );
});
