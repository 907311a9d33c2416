import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const forward = defineOp('dropout_forward', {
  inputs: { x: 'any', seed: 'i32 rows 2' },
  outputs: { y: '= x' },
  attrs: { rate: 'f32', salt: 'i32' },
  vjp: ({ inputs: { seed }, grad, attrs }) => ({ x: () => dropout(grad, seed, attrs) }),
});

/**
 * Keeps each element with probability 1 - rate, scaled by 1 / (1 - rate), and drops the others.
 * x any shape; seed (2) int32, new at every step; `salt` tells apart several dropouts of one graph.
 * The mask depends on seed, salt and the element's position alone. The gradient uses the same mask.
 */
export function dropout(
  x: Value,
  seed: Value,
  { rate, salt = 0 }: { rate: number; salt?: number },
): Value {
  if (!(rate >= 0 && rate < 1)) throw expected('0 <= rate < 1', 'rate', rate, { op: 'dropout' });
  return forward({ x, seed }, { rate, salt }).y;
}
