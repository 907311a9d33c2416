import { expected } from '../../errors.js';
import type { Value } from '../graph.js';
import { pair, sides, windowCount, type Pad, type Pair, type WindowAxis } from './window.js';

export interface Pool2dOptions {
  kernel: Pair;
  /** Default: the kernel. */
  stride?: Pair;
  /** Default 0; smaller than the kernel. */
  pad?: Pad;
  /** Keep a last window that hangs over the end, default false. */
  ceil?: boolean;
  /** maxpool2d: cells from one tap of the window to the next, default 1. */
  dilation?: Pair;
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
  dilation_h: 'i32',
  dilation_w: 'i32',
  count_include_pad: 'i32',
} as const;

/** Attributes and output sizes (P, Q) of a pooling op over x (N, C, H, W). */
export function poolPlan(
  x: Value,
  options: Pool2dOptions,
  op: string,
): { attrs: Record<keyof typeof POOL_ATTRS, number>; sizes: { P: number; Q: number } } {
  const {
    kernel,
    stride = kernel,
    pad = 0,
    ceil = false,
    dilation = 1,
    countIncludePad = false,
  } = options;
  const [kernelH, kernelW] = pair(kernel, 'kernel', op);
  const [strideH, strideW] = pair(stride, 'stride', op);
  const [dilationH, dilationW] = pair(dilation, 'dilation', op);
  const [top, left, bottom, right] = sides(pad, op);
  const [reachH, reachW] = [(kernelH - 1) * dilationH + 1, (kernelW - 1) * dilationW + 1];
  if (Math.max(top, bottom) >= reachH || Math.max(left, right) >= reachW) {
    throw expected('pad below the kernel', 'pad', pad, { op });
  }
  const [, , H = 1, W = 1] = x.shape;
  const down = { size: H, kernel: kernelH, stride: strideH, dilation: dilationH, before: top };
  const across = { size: W, kernel: kernelW, stride: strideW, dilation: dilationW, before: left };
  const P = windowCount({ ...down, after: bottom, ceil });
  const Q = windowCount({ ...across, after: right, ceil });
  if (!meets({ ...down, after: bottom }, P) || !meets({ ...across, after: right }, Q)) {
    throw expected('windows that each hold a cell of the maps', 'pad', pad, { op });
  }
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
      dilation_h: dilationH,
      dilation_w: dilationW,
      count_include_pad: Number(countIncludePad),
    },
    sizes: { P, Q },
  };
}

/** Whether each of `count` windows has a tap inside: dilated ones may step over small maps. */
function meets({ size, kernel, stride, dilation = 1, before }: WindowAxis, count: number): boolean {
  for (let p = 0; p < count; p++) {
    const start = p * stride - before;
    const skipped = start < 0 ? Math.ceil(-start / dilation) : 0;
    if (skipped >= kernel || start + skipped * dilation >= size) return false;
  }
  return true;
}
