import { expected } from '../../errors.js';

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
