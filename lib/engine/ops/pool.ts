import { expected } from '../../errors.js';
import type { Value } from '../graph.js';
import { pair, sides, windowCount, type Pad, type Pair } from './window.js';

export interface Pool2dOptions {
  kernel: Pair;
  /** Default: the kernel. */
  stride?: Pair;
  /** Default 0; smaller than the kernel. */
  pad?: Pad;
  /** Keep a last window that hangs over the end, default false. */
  ceil?: boolean;
  /** avgpool2d: padding counts in the divisor, default false. */
  countIncludePad?: boolean;
}

export const POOL_ATTRS = {
  kernel_h: 'i32',
  kernel_w: 'i32',
  stride_h: 'i32',
  stride_w: 'i32',
  pad_top: 'i32',
  pad_left: 'i32',
  pad_bottom: 'i32',
  pad_right: 'i32',
  count_include_pad: 'i32',
} as const;

/** Attributes and output sizes (P, Q) of a pooling op over x (N, C, H, W). */
export function poolPlan(
  x: Value,
  options: Pool2dOptions,
  op: string,
): { attrs: Record<keyof typeof POOL_ATTRS, number>; sizes: { P: number; Q: number } } {
  const { kernel, stride = kernel, pad = 0, ceil = false, countIncludePad = false } = options;
  const [kernelH, kernelW] = pair(kernel, 'kernel', op);
  const [strideH, strideW] = pair(stride, 'stride', op);
  const [top, left, bottom, right] = sides(pad, op);
  if (Math.max(top, bottom) >= kernelH || Math.max(left, right) >= kernelW) {
    throw expected('pad below the kernel', 'pad', pad, { op });
  }
  const [, , H = 1, W = 1] = x.shape;
  return {
    attrs: {
      kernel_h: kernelH,
      kernel_w: kernelW,
      stride_h: strideH,
      stride_w: strideW,
      pad_top: top,
      pad_left: left,
      pad_bottom: bottom,
      pad_right: right,
      count_include_pad: Number(countIncludePad),
    },
    sizes: {
      P: windowCount({
        size: H,
        kernel: kernelH,
        stride: strideH,
        before: top,
        after: bottom,
        ceil,
      }),
      Q: windowCount({
        size: W,
        kernel: kernelW,
        stride: strideW,
        before: left,
        after: right,
        ceil,
      }),
    },
  };
}
