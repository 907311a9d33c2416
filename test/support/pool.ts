import type { Pool2dOptions } from '../../lib/engine/ops/index.js';
import { sizes, type Grid } from './grid.js';

export interface PoolSizes {
  kernel: readonly [number, number];
  dilation: readonly [number, number];
  stride: readonly [number, number];
  top: number;
  left: number;
  bottom: number;
  right: number;
  P: number;
  Q: number;
}

/** Sizes of a pooling op as ONNX counts them (MaxPool-12, AveragePool-19). */
export function poolSizes(x: Grid, options: Pool2dOptions): PoolSizes {
  const two = (value: number | readonly [number, number]): readonly [number, number] =>
    typeof value === 'number' ? [value, value] : value;
  const kernel = two(options.kernel);
  const stride = two(options.stride ?? kernel);
  const dilation = two(options.dilation ?? 1);
  const pad = options.pad ?? 0;
  const [top, left, bottom, right] = typeof pad === 'number' ? [pad, pad, pad, pad] : pad;
  const [, , H, W] = sizes(x);
  const count = (size: number, k: number, step: number, before: number, after: number): number => {
    const steps = (size + before + after - k) / step;
    if (!options.ceil) return Math.floor(steps) + 1;
    const all = Math.ceil(steps) + 1;
    return (all - 1) * step >= size + before ? all - 1 : all; // no window starts in the padding
  };
  return {
    kernel,
    dilation,
    stride,
    top,
    left,
    bottom,
    right,
    P: count(H, (kernel[0] - 1) * dilation[0] + 1, stride[0], top, bottom),
    Q: count(W, (kernel[1] - 1) * dilation[1] + 1, stride[1], left, right),
  };
}
