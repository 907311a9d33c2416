import { defineOp, type Value } from '../graph.js';
import { poolPlan, POOL_ATTRS, type Pool2dOptions } from './pool.js';

const backward = defineOp('avgpool2d_backward', {
  inputs: { g: 'maps N C P Q' },
  outputs: { dx: 'maps N C H W' },
  attrs: POOL_ATTRS,
});

const forward = defineOp('avgpool2d_forward', {
  inputs: { x: 'maps N C H W' },
  outputs: { y: 'maps N C P Q' },
  attrs: POOL_ATTRS,
  vjp({ inputs: { x }, grad, attrs }) {
    const [, , H = 1, W = 1] = x.shape;
    return { x: () => backward({ g: grad }, attrs, { H, W }).dx };
  },
});

/**
 * Mean of each window. x (N, C, H, W), y (N, C, P, Q). The divisor counts the cells of the image
 * inside the window, with `countIncludePad` those of the padding too. The gradient is exact.
 */
export function avgpool2d(x: Value, options: Omit<Pool2dOptions, 'dilation'>): Value {
  const { attrs, sizes } = poolPlan(x, options, 'avgpool2d');
  return forward({ x }, attrs, sizes).y;
}

/** Mean of each map: x (N, C, H, W), y (N, C, 1, 1). The gradient is exact. */
export function globalAvgpool2d(x: Value): Value {
  const [, , H = 1, W = 1] = x.shape;
  return avgpool2d(x, { kernel: [H, W] });
}
