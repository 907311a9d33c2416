import { normLayer, type NormLayerOptions } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { constant, uniform } from '../support/draw.js';
import { Grid, sizes, type Round } from '../support/grid.js';

type Inputs = 'x' | 'alpha';

/** alpha_d after the batch: running mean over images of sum_positions max(x, 0). */
function strengths(x: Grid, alpha: Grid, options: NormLayerOptions, f: Round): Grid {
  if (!options.training) return alpha;
  const [N] = sizes(x);
  const sum = new Grid(alpha.shape);
  for (const [n, d, i, j] of x.cells()) {
    sum.set(f(sum.at(d) + Math.max(x.at(n, d, i, j), 0)), d);
  }
  const momentum = Math.fround(options.momentum ?? 0.9);
  return alpha.map((old, d) => {
    const batch = f(sum.at(d) / N);
    return old < 0 ? batch : f(f(momentum * old) + f((1 - momentum) * batch));
  });
}

/** scale / max(alpha_d, floor * mean alpha); 0 where the mean is below `silent`. */
function factors(x: Grid, alpha: Grid, options: NormLayerOptions, f: Round): Grid {
  const [, D, P, Q] = sizes(x);
  const now = strengths(x, alpha, options, f);
  const mean = now.data.reduce((sum, value) => f(sum + value), 0) / D;
  const floor = f(Math.fround(options.floor ?? 0.05) * mean);
  const scale = Math.fround(options.scale ?? Math.sqrt(P * Q));
  if (mean < (options.silent ?? 1e-3)) return now.map(() => 0);
  return now.map((value) => (Math.max(value, floor) > 0 ? f(scale / Math.max(value, floor)) : 0));
}

function times(v: Grid, factor: Grid, f: Round): Grid {
  const y = new Grid(v.shape);
  for (const [n, d, i, j] of v.cells()) y.set(f(v.at(n, d, i, j) * factor.at(d)), n, d, i, j);
  return y;
}

function of(
  x: [number, number, number, number],
  attrs: NormLayerOptions,
  rest: Partial<OpCase<Inputs, NormLayerOptions>> = {},
): OpCase<Inputs, NormLayerOptions> {
  return { shapes: { x, alpha: [x[1]] }, attrs, ...rest };
}

const fresh = { draw: { alpha: constant(-1) } };

describe('ops: norm_layer', () => {
  checkOp<Inputs, NormLayerOptions>(
    {
      name: 'norm_layer',
      inputs: { x: {}, alpha: { state: true, draw: uniform(0.01, 8) } },
      wrt: ['x'],
      build: ({ x, alpha }, attrs) => ({ y: normLayer(x, alpha, attrs) }),
      closedForm: ({ x, alpha }, g, attrs, f) => ({ x: times(g, factors(x, alpha, attrs, f), f) }),
      wrong: [
        {
          shapes: { alpha: [4] },
          text: /\[norm_layer\] Expected alpha of shape .*D = 3, as x has/,
        },
        { shapes: { x: [2, 3] }, text: /\[norm_layer\] Expected x of shape \(N, D, P, Q\)/ },
      ],
    },
    ({ x, alpha }, attrs, f) => ({
      y: times(x, factors(x, alpha, attrs, f), f),
      alpha: attrs.keep === false ? alpha : strengths(x, alpha, attrs, f),
    }),
    [
      of([2, 3, 4, 5], { training: true }),
      of([2, 3, 4, 5], { training: true }, fresh),
      of([2, 3, 4, 5], { training: true, keep: false }, fresh),
      of([3, 17, 2, 2], { training: false, floor: 0.5 }),
      of([3, 17, 2, 2], { training: true, momentum: 0.25, scale: 3 }),
      // dead filters: all, and some that the floor holds
      of([1, 5, 3, 3], { training: true }, { draw: { alpha: constant(-1), x: uniform(-1, 0) } }),
      of([2, 5, 1, 1], { training: true }, { draw: { alpha: constant(-1), x: uniform(-1, 0.1) } }),
      of([1, 1, 1, 1], { training: false }),
      // a layer that died in training stays silent
      of([2, 5, 3, 3], { training: false }, { draw: { alpha: constant(9e-4) } }),
      of([2, 5, 3, 3], { training: false, silent: 0 }, { draw: { alpha: constant(9e-4) } }),
      of([2, 5, 3, 3], { training: true, silent: 100 }),
      of([8, 40, 7, 7], { training: true }, { large: true }),
    ],
  );
});
