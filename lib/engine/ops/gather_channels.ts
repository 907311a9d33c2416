import { defineOp, type Value } from '../graph.js';

const backward = defineOp('gather_channels_backward', {
  inputs: { g: 'maps N K H W', index: 'i32 rows K' },
  outputs: { dx: 'maps N C H W' },
});

const forward = defineOp('gather_channels_forward', {
  inputs: { x: 'maps N C H W', index: 'i32 rows K' },
  outputs: { y: 'maps N K H W' },
  vjp({ inputs: { x, index }, grad }) {
    const [, C = 1] = x.shape;
    return { x: () => backward({ g: grad, index }, {}, { C }).dx };
  },
});

/**
 * Channels in another order, some left out or repeated: y[n, k] = x[n, index[k]]. x (N, C, H, W), index
 * (K) int32 in 0..C-1 (one outside counts as the nearest inside), y (N, K, H, W). The gradient is
 * exact: the sum over equal indices.
 */
export function gatherChannels(x: Value, index: Value): Value {
  return forward({ x, index }, {}).y;
}
