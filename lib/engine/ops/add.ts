import { defineOp, type Value } from '../graph.js';

const forward = defineOp('add_forward', {
  inputs: { a: 'any', b: '= a', gate: '=? a' },
  outputs: { y: '= a' },
  vjp: ({ grad }) => ({ a: () => grad, b: () => grad }),
});

const scaled = defineOp('add_scaled', {
  inputs: { a: 'any', b: '= a', s: 'rows', gate: '=? a' },
  outputs: { y: '= a' },
  attrs: { round: 'i32' },
});

/** y = a + b, equal shapes of any layout. The gradient is exact. */
export function add(a: Value, b: Value): Value {
  return forward({ a, b, gate: undefined }, {}).y;
}

/** y = a + s * b with a scalar s (rank 0). Used for sums of gradients; has no gradient itself. */
export function addScaled(a: Value, b: Value, s: Value): Value {
  return scaled({ a, b, s, gate: undefined }, { round: 0 }).y;
}
