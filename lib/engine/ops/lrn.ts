import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const ATTRS = { size: 'i32', alpha: 'f32', beta: 'f32', k: 'f32' } as const;

const backward = defineOp('lrn_backward', {
  inputs: { g: 'maps N C H W', x: '= g', y: '= g' },
  outputs: { dx: '= g' },
  attrs: ATTRS,
});

const forward = defineOp('lrn_forward', {
  inputs: { x: 'maps N C H W' },
  outputs: { y: '= x' },
  attrs: ATTRS,
  vjp: ({ inputs: { x }, outputs: { y }, grad, attrs }) => ({
    x: () => backward({ g: grad, x, y }, attrs).dx,
  }),
});

export interface LrnOptions {
  /** Channels in the window, >= 1. */
  size: number;
  alpha?: number;
  beta?: number;
  k?: number;
}

/**
 * Local response normalization across channels (ONNX LRN):
 * y = x / (k + alpha / size * sum over the window of x^2)^beta. Any (N, C, H, W); exact gradient.
 */
export function lrn(x: Value, { size, alpha = 1e-4, beta = 0.75, k = 1 }: LrnOptions): Value {
  if (!Number.isInteger(size) || size < 1) {
    throw expected('an integer >= 1', 'size', size, { op: 'lrn' });
  }
  return forward({ x }, { size, alpha, beta, k }).y;
}
