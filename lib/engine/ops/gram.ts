import { defineOp, type Value } from '../graph.js';

const backward = defineOp('gram_backward', {
  inputs: { g: 'conv_weight D D 1 1', x: 'maps N D H W' },
  outputs: { dx: '= x' },
});

const forward = defineOp('gram_forward', {
  inputs: { x: 'maps N D H W' },
  outputs: { y: 'conv_weight D D 1 1' },
  vjp: ({ inputs: { x }, grad }) => ({ x: () => backward({ g: grad, x }, {}).dx }),
});

/**
 * Gram matrix of maps: y[f,g] = sum over images and positions of x_f x_g. The gradient is exact,
 * dx_f = sum_g (dy[f,g] + dy[g,f]) x_g.
 *
 * x (N, D, H, W); y (D, D, 1, 1). Throws `E_SHAPE` for anything but maps.
 */
export function gram(x: Value): Value {
  return forward({ x }, {}).y;
}
