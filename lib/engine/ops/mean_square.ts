import { defineOp, type Value } from '../graph.js';

const backward = defineOp('mean_square_backward', {
  inputs: { g: 'rows', x: 'any', target: '= x' },
  outputs: { dx: '= x' },
  attrs: { weight: 'f32' },
});

const forward = defineOp('mean_square_forward', {
  inputs: { x: 'any', target: '= x' },
  outputs: { loss: 'rows' },
  attrs: { weight: 'f32' },
  vjp: ({ inputs: { x, target }, grad, attrs }) => ({
    x: () => backward({ g: grad, x, target }, attrs).dx,
  }),
});

/**
 * Reconstruction loss: loss = weight * mean((x - target)^2), a scalar. x and target of one shape.
 * The gradient with respect to x is exact; target has none.
 */
export function meanSquare(
  x: Value,
  target: Value,
  { weight = 1 }: { weight?: number } = {},
): Value {
  return forward({ x, target }, { weight }).loss;
}
