import { defineOp, type Value } from '../graph.js';
import { pair, sides, windowCount, type Pad, type Pair } from './window.js';
import { reluBackward } from './relu.js';

const ATTRS = {
  stride_h: 'i32',
  stride_w: 'i32',
  pad_top: 'i32',
  pad_left: 'i32',
  dilation_h: 'i32',
  dilation_w: 'i32',
  relu: 'i32',
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
  inputs: { x: 'maps N C H W', w: 'conv_weight O C R S', b: 'rows? O' },
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

export interface Conv2dOptions {
  /** Step of the window, default 1. */
  stride?: Pair;
  /** Zeros around the maps: one number, or [top, left, bottom, right]. Default 0. */
  pad?: Pad;
  /** Cells from one tap of the window to the next, default 1. */
  dilation?: Pair;
  /** Ends in max(y, 0), default false. */
  relu?: boolean;
}

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
  { stride = 1, pad = 0, dilation = 1, relu = false }: Conv2dOptions = {},
): Value {
  const [strideH, strideW] = pair(stride, 'stride', 'conv2d');
  const [dilationH, dilationW] = pair(dilation, 'dilation', 'conv2d');
  const [top, left, bottom, right] = sides(pad, 'conv2d');
  const [, , H = 1, W = 1] = x.shape;
  const [, , R = 1, S = 1] = w.shape;
  const attrs = {
    stride_h: strideH,
    stride_w: strideW,
    pad_top: top,
    pad_left: left,
    dilation_h: dilationH,
    dilation_w: dilationW,
    relu: Number(relu),
    rounded: 0,
    round: 0,
    peaks: 0,
  };
  return forward({ x, w, b }, attrs, {
    P: windowCount({
      size: H,
      kernel: R,
      stride: strideH,
      dilation: dilationH,
      before: top,
      after: bottom,
    }),
    Q: windowCount({
      size: W,
      kernel: S,
      stride: strideW,
      dilation: dilationW,
      before: left,
      after: right,
    }),
  }).y;
}
