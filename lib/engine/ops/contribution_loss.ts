import { defineOp, type Value } from '../graph.js';

const backward = defineOp('contribution_loss_backward', {
  inputs: { g: 'rows', w_p: 'rows' },
  outputs: { dw_p: 'rows' },
  attrs: { eta: 'f32' },
});

const forward = defineOp('contribution_loss_forward', {
  inputs: { w_p: 'rows' },
  outputs: { loss: 'rows' },
  attrs: { eta: 'f32' },
  vjp: ({ inputs: { w_p }, grad, attrs }) => ({
    w_p: () => backward({ g: grad, w_p }, attrs).dw_p,
  }),
});

/**
 * Contribution loss: -eta * log p, p = sigmoid(w_p): asks the parts to carry more. [Zhang 2018]
 * w_p and loss scalars, eta >= 0. The gradient is exact.
 */
export function contributionLoss(wP: Value, { eta }: { eta: number }): Value {
  return forward({ w_p: wP }, { eta }).loss;
}
