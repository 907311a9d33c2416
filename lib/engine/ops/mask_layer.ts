import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const backward = defineOp('mask_layer_backward', {
  inputs: { g: 'maps N D n m', peak: 'i32 rows N D', gate: '=? g' },
  outputs: { dx: '= g' },
  attrs: { beta: 'f32' },
});

const forward = defineOp('mask_layer_forward', {
  inputs: { x: 'maps N D n m' },
  outputs: { y: '= x', peak: 'i32 rows N D' },
  attrs: { beta: 'f32', round: 'i32' },
  vjp: ({ outputs: { peak }, grad, attrs }) => ({
    x: () => backward({ g: grad, peak, gate: undefined }, { beta: attrs.beta }).dx,
  }),
});

/**
 * Keeps each map near its peak: y = x * max(U_mu, 0), U_mu[i,j] = max(1 - beta |[i,j] - mu|_1 / s, -1),
 * s = sqrt(n m), mu = argmax x (ties: the first in row-major order). [Zhang 2018], where n = m = s.
 *
 * x, y (N, D, n, m); peak (N, D) int32, row-major cell of mu. beta > 0, default 4. The gradient is a
 * surrogate: the mask counts as a constant.
 */
export function maskLayer(
  x: Value,
  { beta = 4 }: { beta?: number } = {},
): { y: Value; peak: Value } {
  if (!(beta > 0)) throw expected('a number > 0', 'beta', beta, { op: 'mask_layer' });
  return forward({ x }, { beta, round: 0 });
}
