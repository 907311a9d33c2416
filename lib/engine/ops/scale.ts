import { defineOp, type Value } from '../graph.js';

const forward = defineOp('scale_forward', {
  inputs: { x: 'any' },
  outputs: { y: '= x' },
  attrs: { factor: 'f32', round: 'i32' },
  vjp: ({ grad, attrs }) => ({ x: () => scale(grad, { factor: attrs.factor }) }),
});

/** y = factor * x, any shape. The gradient is exact. */
export function scale(x: Value, { factor }: { factor: number }): Value {
  return forward({ x }, { factor, round: 0 }).y;
}
