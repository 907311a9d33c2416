import { defineOp, type Value } from '../graph.js';
import { reluBackward } from './relu.js';
import { CONVOLUTION_ATTRS, convolutionPlan, type ConvolutionOptions } from './window.js';

const ATTRS = {
  ...CONVOLUTION_ATTRS,
  // Set by the plan, see `fuseCalls`: x or g is stored in the precision of the products, or y is to be;
  // a mask reads y.
  rounded: 'i32',
  round: 'i32',
  peaks: 'i32',
} as const;

const backwardData = defineOp('conv2d_backward_data', {
  inputs: { g: 'maps N O P Q', w: 'conv_weight O C R S' },
  outputs: { dx: 'maps N C H W' },
  attrs: ATTRS,
});

const backwardWeight = defineOp('conv2d_backward_weight', {
  inputs: { x: 'maps N C H W', g: 'maps N O P Q' },
  outputs: { dw: 'conv_weight O C R S' },
  attrs: ATTRS,
});

const backwardBias = defineOp('conv2d_backward_bias', {
  inputs: { g: 'maps N O P Q' },
  outputs: { db: 'rows O' },
});

const forward = defineOp('conv2d_forward', {
  inputs: { x: 'maps N C H W', w: 'conv_weight O C R S', b: 'rows? O', residual: 'maps? N O P Q' },
  outputs: { y: 'maps N O P Q' },
  attrs: ATTRS,
  vjp({ inputs: { x, w }, outputs: { y }, grad, attrs }) {
    const g = attrs.relu ? reluBackward(grad, y) : grad;
    const [, , H = 1, W = 1] = x.shape;
    const [, , R = 1, S = 1] = w.shape;
    return {
      x: () => backwardData({ g, w }, attrs, { H, W }).dx,
      w: () => backwardWeight({ x, g }, attrs, { R, S }).dw,
      b: () => backwardBias({ g }, {}).db,
    };
  },
});

export type Conv2dOptions = ConvolutionOptions;

/**
 * Convolution: y[n,o,p,q] = b[o] + sum_crs x[n, c, p*stride + r*dilation - pad, q*stride +
 * s*dilation - pad] w[o,c,r,s].
 *
 * x (N, C, H, W), w (O, C, R, S), b (O) or undefined; y (N, O, P, Q). The gradient is exact.
 * Throws `E_SHAPE` when sizes disagree.
 */
export function conv2d(
  x: Value,
  w: Value,
  b: Value | undefined,
  options: Conv2dOptions = {},
): Value {
  const { attrs, sizes } = convolutionPlan(x, w, options, 'conv2d');
  const rest = { rounded: 0, round: 0, peaks: 0 };
  return forward({ x, w, b, residual: undefined }, { ...attrs, ...rest }, sizes).y;
}
