import { balanceGradient } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { constant, normal, type Draw } from '../support/draw.js';
import { Grid, type Round } from '../support/grid.js';

type Inputs = 'g_rec' | 'g_filter';
interface Attrs {
  rho: number;
}

function norm(g: Grid, f: Round): number {
  return f(Math.sqrt(g.data.reduce((sum, value) => f(sum + f(value * value)), 0)));
}

const scaled =
  (factor: number): Draw =>
  (random, count) =>
    Array.from(normal(random, count), (value) => value * factor);

function of(
  shape: number[],
  rho: number,
  draw: Partial<Record<Inputs, Draw>> = {},
  large = false,
): OpCase<Inputs, Attrs> {
  return { shapes: { g_rec: shape, g_filter: shape }, attrs: { rho }, draw, large };
}

describe('ops: balance_gradient', () => {
  checkOp<Inputs, Attrs>(
    {
      name: 'balance_gradient',
      inputs: { g_rec: {}, g_filter: {} },
      build: ({ g_rec, g_filter }, attrs) => ({ lambda: balanceGradient(g_rec, g_filter, attrs) }),
      wrong: [
        {
          shapes: { g_filter: [2, 5, 4, 3] },
          text: /\[balance_gradient\] Expected g_filter of the shape of g_rec, \(2, 5, 3, 4\)/,
        },
      ],
    },
    // lambda = rho |g_rec| / |g_filter|, 0 where that is no number
    ({ g_rec, g_filter }, { rho }, f) => {
      const lambda = f(f(Math.fround(rho) * norm(g_rec, f)) / norm(g_filter, f));
      return { lambda: new Grid([], [Number.isFinite(lambda) ? lambda : 0]) };
    },
    [
      of([2, 5, 3, 4], 3),
      of([1, 1, 1, 1], 0.5),
      of([2, 5, 3, 4], 3, { g_filter: constant(0) }),
      of([2, 5, 3, 4], 3, { g_rec: constant(0) }),
      of([2, 5, 3, 4], 3, { g_rec: constant(NaN) }),
      of([2, 5, 3, 4], 3, { g_rec: constant(Infinity) }),
      // squares that float32 cannot hold
      of([2, 5, 3, 4], 3, { g_rec: scaled(2 ** -80), g_filter: scaled(2 ** -70) }),
      of([8, 40, 14, 14], 3, {}, true),
    ],
  );
});
