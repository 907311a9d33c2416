import { Graph } from '../engine/graph.js';
import { maxpool2d, relu, type Pool2dOptions } from '../engine/ops/index.js';
import type { TrainOptions } from './options.js';

/** One performer feature to be rebuilt. */
export interface TargetSpec {
  name: string;
  /** (F), or (C, H, W) for maps. */
  shape: readonly number[];
  size: number;
  /** The target is a ReLU's output, so the decoder layer ends in one too. */
  relu: boolean;
}

/** Maps that the decoder `own` rebuilds. */
export interface SiteSpec {
  name: string;
  channels: number;
  /** They are a ReLU's output, so the decoder ends in one too. */
  relu: boolean;
}

/** Sizes of the network: what the performer dictates. */
export interface NetworkSpec {
  /** Channels and cells of the explained maps (C, n, m). */
  channels: number;
  height: number;
  width: number;
  /** Filters D of each explainer layer. */
  filters: number;
  /** The performer's pooling between the layer and what is rebuilt. */
  pool: Pool2dOptions | undefined;
  /** The performer's later layers take over from these maps; undefined for the decoder `learned`. */
  site: SiteSpec | undefined;
  targets: readonly TargetSpec[];
  /** Factor on the features: 1 / their mean (root of the mean square, if signed) over the training set. */
  featureScale: number;
  /** Classes that filters belong to in training, filter d to `classes[d % K]`; default none. */
  classes?: readonly number[] | undefined;
}

/**
 * `train` updates the running means with the batch; `calibrate` uses the batch's own and leaves the
 * state alone; `evaluate` uses the running means.
 */
export type NetworkMode = 'train' | 'calibrate' | 'evaluate';

/** Options that the network depends on. */
export type NetworkOptions = Pick<
  TrainOptions,
  | 'kernel'
  | 'context'
  | 'contextChannels'
  | 'mask'
  | 'beta'
  | 'normMomentum'
  | 'normFloor'
  | 'tracks'
  | 'decoderKernel'
  | 'appearance'
  | 'gateRadius'
  | 'gatePower'
  | 'gateFloor'
  | 'ordinaryChannels'
  | 'ordinaryDropout'
  | 'imageNorm'
>;

/** Cells (q, r) of the maps after the pooling: what the decoder sees. */
export function pooledSize({ pool, height, width }: NetworkSpec): readonly [number, number] {
  const probe = new Graph();
  const x = probe.input('x', [1, 1, height, width]);
  const [, , q = 1, r = 1] = (pool ? maxpool2d(x, pool) : relu(x)).shape;
  return [q, r];
}
