import { defineOp, type Value } from '../graph.js';

const backward = defineOp('softmax_backward', {
  inputs: { g: 'rows N F', y: 'rows N F' },
  outputs: { dx: 'rows N F' },
});

const forward = defineOp('softmax_forward', {
  inputs: { x: 'rows N F' },
  outputs: { y: 'rows N F' },
  vjp: ({ outputs: { y }, grad }) => ({ x: () => backward({ g: grad, y }, {}).dx }),
});

/** y[n,f] = exp(x[n,f]) / sum_f exp(x[n,f]). x and y (N, F). The gradient is exact. */
export function softmax(x: Value): Value {
  return forward({ x }, {}).y;
}
