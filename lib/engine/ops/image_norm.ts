import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const ATTRS = { target: 'f32' } as const;

const backward = defineOp('image_norm_backward', {
  inputs: { g: 'maps N C H W', x: '= g' },
  outputs: { dx: '= g' },
  attrs: ATTRS,
});

const forward = defineOp('image_norm_forward', {
  inputs: { x: 'maps N C H W' },
  outputs: { y: '= x' },
  attrs: ATTRS,
  vjp: ({ inputs: { x }, grad, attrs }) => ({ x: () => backward({ g: grad, x }, attrs).dx }),
});

/**
 * Brings every image to one strength: y = x target / max(rms, 1e-12), rms the root mean square over the
 * (C, H, W) of the image. x, y (N, C, H, W); target > 0, default 1. The gradient is exact. Throws
 * E_ARGUMENT for another target.
 */
export function imageNorm(x: Value, { target = 1 }: { target?: number } = {}): Value {
  if (!(target > 0 && target < Infinity)) {
    throw expected('a number > 0', 'target', target, { op: 'image_norm' });
  }
  return forward({ x }, { target }).y;
}
