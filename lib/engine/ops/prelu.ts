import { defineOp, type Value } from '../graph.js';
import { checkChannels } from './channels.js';

const backward = defineOp('prelu_backward', {
  inputs: { g: 'any', x: '= g', slope: 'rows C' },
  outputs: { dx: '= g' },
});

const forward = defineOp('prelu_forward', {
  inputs: { x: 'any', slope: 'rows C' },
  outputs: { y: '= x' },
  vjp: ({ inputs: { x, slope }, grad }) => ({ x: () => backward({ g: grad, x, slope }, {}).dx }),
});

/**
 * y = x, slope[c] x below 0: x maps (N, C, H, W), slope rows (C) or (1); or x rows (N, F), slope (F), in
 * C, H, W order where the rows are flattened maps, or (1). The gradient of x is exact away from 0, where
 * it is that from above; slope has none.
 */
export function prelu(x: Value, slope: Value): Value {
  checkChannels('prelu', x, { slope }, true);
  return forward({ x, slope }, {}).y;
}
