import { expected } from '../../errors.js';
import type { Value } from '../graph.js';

/** One number for both axes, or [vertical, horizontal]. */
export type Pair = number | readonly [number, number];
/** One number for all sides, or [top, left, bottom, right]. */
export type Pad = number | readonly [number, number, number, number];

/** [vertical, horizontal], each an integer >= 1. */
export function pair(value: Pair, name: string, op: string): readonly [number, number] {
  const both = typeof value === 'number' ? ([value, value] as const) : value;
  if (!both.every((size) => Number.isInteger(size) && size >= 1)) {
    throw expected('integers >= 1', name, value, { op });
  }
  return both;
}

/** [top, left, bottom, right], each an integer >= 0. */
export function sides(value: Pad, op: string): readonly [number, number, number, number] {
  const all = typeof value === 'number' ? ([value, value, value, value] as const) : value;
  if (!all.every((size) => Number.isInteger(size) && size >= 0)) {
    throw expected('integers >= 0', 'pad', value, { op });
  }
  return all;
}

export interface WindowAxis {
  size: number;
  kernel: number;
  stride: number;
  /** Cells from one tap of the kernel to the next, default 1. */
  dilation?: number;
  before: number;
  after: number;
  /** Count a last window that hangs over the end, if it starts inside (ONNX ceil_mode). */
  ceil?: boolean;
}

/** Number of positions of a sliding window along one axis; below 1 when it does not fit. */
export function windowCount({
  size,
  kernel,
  stride,
  dilation = 1,
  before,
  after,
  ceil = false,
}: WindowAxis): number {
  const span = size + before + after - (kernel - 1) * dilation - 1;
  if (span < 0) return 0;
  if (!ceil) return Math.floor(span / stride) + 1;
  const count = Math.ceil(span / stride) + 1;
  return (count - 1) * stride >= size + before ? count - 1 : count;
}

/** Attributes of a convolution: its window and its end. */
export const CONVOLUTION_ATTRS = {
  stride_h: 'i32',
  stride_w: 'i32',
  pad_top: 'i32',
  pad_left: 'i32',
  dilation_h: 'i32',
  dilation_w: 'i32',
  relu: 'i32',
  // Set by the plan, see `fuseCalls`: what ends the convolution, after a residual was added.
  activation: 'i32',
  alpha: 'f32',
  beta: 'f32',
} as const;

export interface ConvolutionOptions {
  /** Step of the window, default 1. */
  stride?: Pair;
  /** Zeros around the maps: one number, or [top, left, bottom, right]. Default 0. */
  pad?: Pad;
  /** Cells from one tap of the window to the next, default 1. */
  dilation?: Pair;
  /** Ends in max(y, 0), default false. */
  relu?: boolean;
}

/** Attributes and output sizes (P, Q) of a convolution of x (N, C, H, W) with w (O, K, R, S). */
export function convolutionPlan(
  x: Value,
  w: Value,
  { stride = 1, pad = 0, dilation = 1, relu = false }: ConvolutionOptions,
  op: string,
): {
  attrs: Record<keyof typeof CONVOLUTION_ATTRS, number>;
  sizes: { P: number; Q: number };
} {
  const [strideH, strideW] = pair(stride, 'stride', op);
  const [dilationH, dilationW] = pair(dilation, 'dilation', op);
  const [top, left, bottom, right] = sides(pad, op);
  const [, , H = 1, W = 1] = x.shape;
  const [, , R = 1, S = 1] = w.shape;
  const down = { size: H, kernel: R, stride: strideH, dilation: dilationH };
  const across = { size: W, kernel: S, stride: strideW, dilation: dilationW };
  return {
    attrs: {
      stride_h: strideH,
      stride_w: strideW,
      pad_top: top,
      pad_left: left,
      dilation_h: dilationH,
      dilation_w: dilationW,
      relu: Number(relu),
      activation: 0,
      alpha: 0,
      beta: 0,
    },
    sizes: {
      P: windowCount({ ...down, before: top, after: bottom }),
      Q: windowCount({ ...across, before: left, after: right }),
    },
  };
}
