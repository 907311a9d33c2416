import { defineOp, type Value } from '../graph.js';
import { poolPlan, POOL_ATTRS, type Pool2dOptions } from './pool.js';

const backward = defineOp('maxpool2d_backward', {
  inputs: { g: 'maps N C P Q', index: 'i32 maps N C P Q', gate: 'maps? N C H W' },
  outputs: { dx: 'maps N C H W' },
  attrs: POOL_ATTRS,
});

const forward = defineOp('maxpool2d_forward', {
  inputs: { x: 'maps N C H W' },
  outputs: { y: 'maps N C P Q', index: 'i32 maps? N C P Q' },
  attrs: POOL_ATTRS,
  vjp({ inputs: { x }, outputs: { index }, grad, attrs }) {
    const [, , H = 1, W = 1] = x.shape;
    return { x: () => backward({ g: grad, index, gate: undefined }, attrs, { H, W }).dx };
  },
});

/**
 * Largest value of each window. x (N, C, H, W), y (N, C, P, Q). Padding never wins; with `ceil` a
 * last window may hang over the end. The gradient goes to the first maximum in row-major order.
 */
export function maxpool2d(x: Value, options: Pool2dOptions): Value {
  const { attrs, sizes } = poolPlan(x, options, 'maxpool2d');
  return forward({ x }, attrs, sizes).y;
}
