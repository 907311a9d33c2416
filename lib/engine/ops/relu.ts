import { defineOp, type Value } from '../graph.js';

const backward = defineOp('relu_backward', {
  inputs: { g: 'any', y: '= g' },
  outputs: { dx: '= g' },
  attrs: { round: 'i32' },
});

const forward = defineOp('relu_forward', {
  inputs: { x: 'any' },
  outputs: { y: '= x' },
  vjp: ({ outputs: { y }, grad }) => ({ x: () => reluBackward(grad, y) }),
});

/** y = max(x, 0), any shape. The gradient is exact where x is not 0, and 0 there. */
export function relu(x: Value): Value {
  return forward({ x }, {}).y;
}

/** dx = g where the ReLU's output y is above 0, else 0. Also for ReLUs fused into another op. */
export function reluBackward(g: Value, y: Value): Value {
  return backward({ g, y }, { round: 0 }).dx;
}
