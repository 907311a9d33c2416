import type { Value } from '../../engine/graph.js';
import type { DeviceOptions } from '../../engine/session.js';

/** Feature vectors that codes are fitted on, rows of `channels` numbers, and how. */
export interface FitOptions {
  channels: number;
  filters: number;
  seed: number;
  device?: DeviceOptions | undefined;
  signal?: AbortSignal | undefined;
}

/** A linear map with a constant: weights (outputs, inputs), bias (outputs), row-major. */
export interface LinearMap {
  weights: Float32Array;
  bias: Float32Array;
}

/** A code that was fitted: how its maps are computed, and the linear map back to the features. */
export interface FittedCode {
  name: string;
  filters: number;
  /** Tensors of `encode`, written once, with their shapes; rank 4: weights of convolutions. */
  frozen: Record<string, { shape: number[]; data: Float32Array }>;
  /** The maps (N, D, n, m) of features x (N, C, n, m). */
  encode: (x: Value, frozen: (name: string) => Value) => Value;
  /** What the engine has no op for: changes maps (count, D, cells) in place. */
  finish?: (maps: Float32Array, count: number) => Promise<void>;
  /** (C, D) and (C). */
  decoder: LinearMap;
}
