import { defineOp, type Value } from '../graph.js';

const step = defineOp('adam_step', {
  inputs: { w: 'any', grad: '= w', m: '= w', v: '= w', hyper: 'rows 3' },
  outputs: { w_out: '= w', m_out: '= w', v_out: '= w' },
  attrs: { lr_scale: 'f32', beta1: 'f32', beta2: 'f32', eps: 'f32', weight_decay: 'f32' },
});

export interface AdamStepOptions {
  /** Factor on the learning rate of this parameter, default 1. */
  lrScale?: number;
  beta1?: number;
  beta2?: number;
  eps?: number;
  /** Added to the gradient as weightDecay * w (L2), default 0. */
  weightDecay?: number;
}

/**
 * One Adam step in place: g += weightDecay w, m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
 * w -= lr lrScale (m c1) / (sqrt(v c2) + eps). hyper (3) = lr, c1 = 1 / (1 - beta1^t),
 * c2 = 1 / (1 - beta2^t). Returns the new w.
 */
export function adamStep(
  inputs: { w: Value; grad: Value; m: Value; v: Value; hyper: Value },
  options: AdamStepOptions = {},
): Value {
  const { lrScale = 1, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0 } = options;
  const attrs = { lr_scale: lrScale, beta1, beta2, eps, weight_decay: weightDecay };
  return step(inputs, attrs).w_out;
}
