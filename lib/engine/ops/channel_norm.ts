import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const backward = defineOp('channel_norm_backward', {
  inputs: { g: 'any', x: '= g' },
  outputs: { dx: '= g' },
  attrs: { epsilon: 'f32' },
});

const forward = defineOp('channel_norm_forward', {
  inputs: { x: 'any' },
  outputs: { y: '= x' },
  attrs: { epsilon: 'f32' },
  vjp: ({ inputs: { x }, grad, attrs }) => ({ x: () => backward({ g: grad, x }, attrs).dx }),
});

/**
 * Layer normalisation of each cell: y = (x - mean) / sqrt(var + epsilon), mean and variance over the
 * channels. x maps (N, C, H, W), or rows (N, F) over F; y like x. epsilon > 0, default 1e-5. The gradient
 * is exact. Throws E_SHAPE for rows that are flattened maps. [Ba 2016]
 */
export function channelNorm(x: Value, { epsilon = 1e-5 }: { epsilon?: number } = {}): Value {
  const op = 'channel_norm';
  if (!(epsilon > 0 && epsilon < Infinity)) {
    throw expected('a number > 0', 'epsilon', epsilon, { op });
  }
  if (x.layout !== 'maps' && (x.layout !== 'rows' || x.chw)) {
    const received = x.chw ? 'rows flattened from maps' : x.layout;
    throw expected('maps or plain rows', 'x', received, { op, code: 'E_SHAPE' });
  }
  return forward({ x }, { epsilon }).y;
}
