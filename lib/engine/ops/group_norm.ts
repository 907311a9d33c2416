import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const ATTRS = { groups: 'i32', epsilon: 'f32' } as const;

const backward = defineOp('group_norm_backward', {
  inputs: { g: 'maps N C H W', x: '= g' },
  outputs: { dx: '= g' },
  attrs: ATTRS,
});

const forward = defineOp('group_norm_forward', {
  inputs: { x: 'maps N C H W' },
  outputs: { y: '= x' },
  attrs: ATTRS,
  vjp: ({ inputs: { x }, grad, attrs }) => ({ x: () => backward({ g: grad, x }, attrs).dx }),
});

export interface GroupNormOptions {
  /** Divides C. C: each map alone (instance normalisation); 1: all maps of an image. */
  groups: number;
  /** > 0, default 1e-5. */
  epsilon?: number;
}

/**
 * y = (x - mean) / sqrt(var + epsilon), mean and variance over the (C / groups, H, W) of each group of
 * neighbouring channels of each image. x (N, C, H, W), y like x. The gradient is exact. Throws E_ARGUMENT
 * for groups that do not divide C. [Wu 2018]
 */
export function groupNorm(x: Value, { groups, epsilon = 1e-5 }: GroupNormOptions): Value {
  const op = 'group_norm';
  const [, C = 1] = x.shape;
  if (!Number.isInteger(groups) || groups < 1 || C % groups !== 0) {
    throw expected(`an integer that divides C = ${String(C)}`, 'groups', groups, { op });
  }
  if (!(epsilon > 0 && epsilon < Infinity)) {
    throw expected('a number > 0', 'epsilon', epsilon, { op });
  }
  return forward({ x }, { groups, epsilon }).y;
}
