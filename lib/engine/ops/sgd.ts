import { defineOp, type Value } from '../graph.js';

const step = defineOp('sgd_step', {
  inputs: { w: 'any', grad: '= w', v: '= w', hyper: 'rows 3' },
  outputs: { w_out: '= w', v_out: '= w' },
  attrs: { lr_scale: 'f32', momentum: 'f32', weight_decay: 'f32' },
});

export interface SgdStepOptions {
  /** Factor on the learning rate of this parameter, default 1. */
  lrScale?: number;
  momentum?: number;
  /** Added to the gradient as weightDecay * w (L2), default 0. */
  weightDecay?: number;
}

/**
 * One SGD step in place: v = momentum v + grad + weightDecay w, w -= lr lrScale v. hyper (3): lr first.
 * Returns the new w.
 */
export function sgdStep(
  inputs: { w: Value; grad: Value; v: Value; hyper: Value },
  options: SgdStepOptions = {},
): Value {
  const { lrScale = 1, momentum = 0.9, weightDecay = 0 } = options;
  return step(inputs, { lr_scale: lrScale, momentum, weight_decay: weightDecay }).w_out;
}
