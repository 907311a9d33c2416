import { defineOp, type Value } from '../graph.js';

const backward = defineOp('mean_backward', {
  inputs: { g: 'rows' },
  outputs: { dx: 'rows F' },
});

const forward = defineOp('mean_forward', {
  inputs: { x: 'rows F' },
  outputs: { y: 'rows' },
  vjp({ inputs: { x }, grad }) {
    return { x: () => backward({ g: grad }, {}, { F: x.shape[0] ?? 1 }).dx };
  },
});

/** y = mean of x (F), a scalar. The gradient is exact. */
export function mean(x: Value): Value {
  return forward({ x }, {}).y;
}
