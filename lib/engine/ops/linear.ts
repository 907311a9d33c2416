import { defineOp, type Value } from '../graph.js';
import { reluBackward } from './relu.js';

const backwardData = defineOp('linear_backward_data', {
  inputs: { g: 'rows N O', w: 'linear_weight O F' },
  outputs: { dx: 'rows N F' },
});

const backwardWeight = defineOp('linear_backward_weight', {
  inputs: { g: 'rows N O', x: 'rows N F' },
  outputs: { dw: 'linear_weight O F' },
});

const backwardBias = defineOp('linear_backward_bias', {
  inputs: { g: 'rows N O' },
  outputs: { db: 'rows O' },
});

const forward = defineOp('linear_forward', {
  inputs: { x: 'rows N F', w: 'linear_weight O F', b: 'rows? O' },
  outputs: { y: 'rows N O' },
  attrs: { relu: 'i32' },
  vjp({ inputs: { x, w }, outputs: { y }, grad, attrs }) {
    const g = attrs.relu ? reluBackward(grad, y) : grad;
    return {
      x: () => backwardData({ g, w }, {}).dx,
      w: () => backwardWeight({ g, x }, {}).dw,
      b: () => backwardBias({ g }, {}).db,
    };
  },
});

export interface LinearOptions {
  /** Ends in max(y, 0), default false. */
  relu?: boolean;
}

/**
 * Fully connected layer: y[n,o] = b[o] + sum_f x[n,f] w[o,f].
 *
 * x (N, F), w (O, F), b (O) or undefined; y (N, O). The gradient is exact. If x is flattened from
 * maps, w must be declared with the same `chw`. Throws `E_SHAPE` when sizes disagree.
 */
export function linear(
  x: Value,
  w: Value,
  b: Value | undefined,
  { relu = false }: LinearOptions = {},
): Value {
  return forward({ x, w, b }, { relu: Number(relu) }).y;
}
