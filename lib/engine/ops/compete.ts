import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';
import { shareAttrs, type ShareOptions } from './share.js';

const ATTRS = { scale: 'f32', tau: 'f32', power: 'f32' } as const;

const backward = defineOp('compete_backward', {
  inputs: { g: 'maps N D H W', x: '= g', factor: 'rows? D' },
  outputs: { dx: '= g' },
  attrs: ATTRS,
});

const forward = defineOp('compete_forward', {
  inputs: { x: 'maps N D H W', factor: 'rows? D' },
  outputs: { y: '= x' },
  attrs: ATTRS,
  vjp: ({ inputs: { x, factor }, grad, attrs }) => ({
    x: () => backward({ g: grad, x, factor }, attrs).dx,
  }),
});

export interface CompeteOptions extends ShareOptions {
  /** What z is multiplied by for its strength, default 1. */
  scale?: number;
  /** (D), a constant to the gradient, such as 1 / the running mean peak; default 1. */
  factor?: Value;
}

/**
 * A place counts for its strongest filters alone: z = factor_d x_d,
 * y_d = z_d e_d / (sum over filters k of e_k + tau^power), e_d = max(scale z_d, 1e-6)^power, at each cell.
 *
 * x >= 0 and y (N, D, H, W); scale z^power must be a float32. The gradient with respect to x is exact.
 * Throws E_ARGUMENT for a scale or tau that is not > 0 and a power below 1.
 */
export function compete(x: Value, options: CompeteOptions = {}): Value {
  const { scale = 1, factor } = options;
  const op = 'compete';
  if (!(scale > 0 && scale < Infinity)) throw expected('a number > 0', 'scale', scale, { op });
  return forward({ x, factor }, { scale, ...shareAttrs(op, options) }).y;
}
