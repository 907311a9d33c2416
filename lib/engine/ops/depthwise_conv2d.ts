import { defineOp, type Value } from '../graph.js';
import { reluBackward } from './relu.js';
import { CONVOLUTION_ATTRS, convolutionPlan, type ConvolutionOptions } from './window.js';

const ATTRS = CONVOLUTION_ATTRS;

const backwardData = defineOp('depthwise_conv2d_backward_data', {
  inputs: { g: 'maps N C P Q', w: 'conv_weight C 1 R S' },
  outputs: { dx: 'maps N C H W' },
  attrs: ATTRS,
});

const forward = defineOp('depthwise_conv2d_forward', {
  inputs: { x: 'maps N C H W', w: 'conv_weight C 1 R S', b: 'rows? C', residual: 'maps? N C P Q' },
  outputs: { y: 'maps N C P Q' },
  attrs: ATTRS,
  vjp({ inputs: { x, w }, outputs: { y }, grad, attrs }) {
    const g = attrs.relu ? reluBackward(grad, y) : grad;
    const [, , H = 1, W = 1] = x.shape;
    return { x: () => backwardData({ g, w }, attrs, { H, W }).dx };
  },
});

/**
 * Convolution of each channel with a filter of its own:
 * y[n,c,p,q] = b[c] + sum_rs x[n, c, p*stride + r*dilation - pad, q*stride + s*dilation - pad] w[c,0,r,s].
 *
 * x (N, C, H, W), w (C, 1, R, S), b (C) or undefined; y (N, C, P, Q). The gradient with respect to x is
 * exact; there is none with respect to w and b. Throws `E_SHAPE` when sizes disagree.
 */
export function depthwiseConv2d(
  x: Value,
  w: Value,
  b: Value | undefined,
  options: ConvolutionOptions = {},
): Value {
  const { attrs, sizes } = convolutionPlan(x, w, options, 'depthwiseConv2d');
  return forward({ x, w, b, residual: undefined }, attrs, sizes).y;
}
