import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';
import { shareAttrs, type ShareOptions } from './share.js';

const backward = defineOp('part_gates_backward', {
  inputs: {
    g: 'maps N 1 n m',
    y: '= g',
    inverse: '= g',
    x: 'maps N D n m',
    peak: 'i32 rows N D',
    factor: 'rows D',
    on: 'rows? N D',
  },
  outputs: { dx: '= x' },
  attrs: { beta: 'f32', power: 'f32' },
});

const forward = defineOp('part_gates_forward', {
  inputs: { x: 'maps N D n m', peak: 'i32 rows N D', alpha: 'rows D', on: 'rows? N D' },
  outputs: { y: 'maps N 1 n m', inverse: 'maps N 1 n m', factor: 'rows D', alpha_out: 'rows? D' },
  attrs: {
    beta: 'f32',
    tau: 'f32',
    power: 'f32',
    training: 'i32',
    momentum: 'f32',
    floor: 'f32',
  },
  vjp: ({ inputs, outputs: { y, inverse, factor }, grad, attrs: { beta, power } }) => ({
    x: () => {
      const { x, peak, on } = inputs;
      return backward({ g: grad, y, inverse, x, peak, factor, on }, { beta, power }).dx;
    },
  }),
});

export interface PartGatesOptions extends ShareOptions {
  /** Update alpha with this batch first. */
  training: boolean;
  /** Keep the updated alpha, default true: false tries a batch and leaves the state alone. */
  keep?: boolean;
  /** (N, D), 1 or 0: which parts let their places through; default all. */
  on?: Value;
  /** Slope of the cones as in the mask: they end s / beta cells from the peak. Default 14 / 9. */
  beta?: number;
  /** Share of the old running mean, default 0.9. */
  momentum?: number;
  /** Smallest alpha as a share of the mean over filters, default 0.05. */
  floor?: number;
}

export interface PartGates {
  /** (N, 1, n, m), 0..1. */
  gate: Value;
  /** (D): 1 / max(alpha_d, floor mean alpha), 0 where that is 0; a constant to the gradient. */
  factor: Value;
  /** (D): alpha for the rest of the step, such as a filterLoss that does not update it. */
  alpha: Value;
}

/**
 * Where a decoder may look: the places that parts win from each other by wide cones at their peaks,
 * gate = sum over d of on_d e_d / (sum over all k of e_k + tau^power),
 * e_d[i,j] = max(v_d factor_d max(1 - beta |[i,j] - mu_d|_1 / s, 0), 1e-6)^power, v_d = x_d at mu_d,
 * s = sqrt(n m). A part that is off hands its places to nobody.
 *
 * x (N, D, n, m), maps whose peaks (N, D) maskLayer gives; alpha (D), a state with fill -1: running mean
 * over images of v. The gradient with respect to v is exact and goes to the peaks' cells of x; alpha, on
 * and the cones count as constants. Throws E_ARGUMENT for a beta or tau that is not > 0, a power below 1.
 */
export function partGates(
  x: Value,
  peak: Value,
  alpha: Value,
  options: PartGatesOptions,
): PartGates {
  const { training, keep = true, on, beta = 14 / 9, momentum = 0.9, floor = 0.05 } = options;
  const op = 'part_gates';
  if (!(beta > 0 && beta < Infinity)) throw expected('a number > 0', 'beta', beta, { op });
  const shares = shareAttrs(op, options);
  const attrs = { beta, ...shares, training: Number(training), momentum, floor };
  const { y, factor, alpha_out } = forward({ x, peak, alpha, on }, attrs);
  const updated = training && keep;
  if (updated) x.node.graph.update(alpha_out);
  return { gate: y, factor, alpha: updated ? alpha_out : alpha };
}
