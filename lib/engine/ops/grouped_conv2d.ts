import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';
import { reluBackward } from './relu.js';
import { CONVOLUTION_ATTRS, convolutionPlan, type ConvolutionOptions } from './window.js';

const ATTRS = { ...CONVOLUTION_ATTRS, groups: 'i32' } as const;

const backwardData = defineOp('grouped_conv2d_backward_data', {
  inputs: { g: 'maps N O P Q', w: 'conv_weight O K R S' },
  outputs: { dx: 'maps N C H W' },
  attrs: ATTRS,
});

const forward = defineOp('grouped_conv2d_forward', {
  inputs: { x: 'maps N C H W', w: 'conv_weight O K R S', b: 'rows? O', residual: 'maps? N O P Q' },
  outputs: { y: 'maps N O P Q' },
  attrs: ATTRS,
  vjp({ inputs: { x, w }, outputs: { y }, grad, attrs }) {
    const g = attrs.relu ? reluBackward(grad, y) : grad;
    const [, C = 1, H = 1, W = 1] = x.shape;
    return { x: () => backwardData({ g, w }, attrs, { C, H, W }).dx };
  },
});

export interface GroupedConv2dOptions extends ConvolutionOptions {
  /** Groups of channels, a divisor of C and of O. */
  groups: number;
}

/**
 * Convolution in groups of channels that do not see each other:
 * y[n,o,p,q] = b[o] + sum_krs x[n, g*K + k, p*stride + r*dilation - pad, q*stride + s*dilation - pad] w[o,k,r,s]
 * with K = C / groups and g = floor(o / (O / groups)).
 *
 * x (N, C, H, W), w (O, K, R, S), b (O) or undefined; y (N, O, P, Q). The gradient with respect to x is
 * exact; there is none with respect to w and b. Throws `E_ARGUMENT` for a number of groups that does not
 * divide C and O, `E_SHAPE` when sizes disagree.
 */
export function groupedConv2d(
  x: Value,
  w: Value,
  b: Value | undefined,
  { groups, ...options }: GroupedConv2dOptions,
): Value {
  const op = 'groupedConv2d';
  const [, C = 1] = x.shape;
  const [O = 1, K = 1] = w.shape;
  if (!Number.isInteger(groups) || groups < 1 || C % groups !== 0 || O % groups !== 0) {
    const wanted = `a divisor of C = ${String(C)} and O = ${String(O)}`;
    throw expected(wanted, 'groups', groups, { op });
  }
  if (K * groups !== C) {
    const wanted = `C / groups = ${String(C / groups)} channels`;
    throw expected(wanted, 'w', w.shape, { op, code: 'E_SHAPE' });
  }
  const { attrs, sizes } = convolutionPlan(x, w, options, op);
  return forward({ x, w, b, residual: undefined }, { ...attrs, groups }, sizes).y;
}
