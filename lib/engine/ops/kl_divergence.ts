import { defineOp, type Value } from '../graph.js';

const backward = defineOp('kl_divergence_backward', {
  inputs: { g: 'rows', difference: 'rows N F' },
  outputs: { dx: 'rows N F' },
});

const forward = defineOp('kl_divergence_forward', {
  inputs: { x: 'rows N F', target: 'rows N F' },
  outputs: { loss: 'rows', difference: 'rows N F' },
  vjp: ({ outputs: { difference }, grad }) => ({
    x: () => backward({ g: grad, difference }, {}).dx,
  }),
});

/**
 * loss = mean_n sum_f p[n,f] log(p[n,f] / q[n,f]), p = softmax(target), q = softmax(x): how far the
 * classes of x are from those of target. x, target (N, F) logits; loss a scalar in nats, >= 0. The
 * gradient with respect to x is exact, (q - p) / N; target has none.
 */
export function klDivergence(x: Value, target: Value): Value {
  return forward({ x, target }, {}).loss;
}
