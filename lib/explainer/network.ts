import { expected } from '../errors.js';
import { Graph, type Value } from '../engine/graph.js';
import {
  conv2d,
  flatten,
  linear,
  maskLayer,
  maxpool2d,
  mixTracks,
  normLayer,
  relu,
  scale,
  type Pool2dOptions,
} from '../engine/ops/index.js';
import type { TrainOptions } from './options.js';

/** Encodings that are decoded together. */
export const DECODE_BATCH = 64;

/** One performer feature to be rebuilt. */
export interface TargetSpec {
  name: string;
  size: number;
  /** The target is a ReLU's output, so the decoder layer ends in one too. */
  relu: boolean;
}

/** Sizes of the network: what the performer dictates. */
export interface NetworkSpec {
  /** Channels and side of the explained maps (C, n, n). */
  channels: number;
  side: number;
  /** Filters D of each explainer layer. */
  filters: number;
  /** The performer's pooling between the layer and its first FC layer. */
  pool: Pool2dOptions | undefined;
  targets: readonly TargetSpec[];
  /** Factor on the features: 1 / their mean over the training set. */
  featureScale: number;
}

/**
 * `train` updates the running means with the batch; `calibrate` uses the batch's own and leaves the
 * state alone; `evaluate` uses the running means.
 */
export type NetworkMode = 'train' | 'calibrate' | 'evaluate';

type NetworkOptions = Pick<TrainOptions, 'kernel' | 'mask' | 'beta' | 'normMomentum' | 'normFloor'>;

/** The values of one explainer network, in the letters of the method. */
export interface Network {
  graph: Graph;
  /** Input `features` (B, C, n, n). */
  c: Value;
  /** Maps of the interpretable layers (B, D, n, n), post-ReLU, before the mask. */
  a1: Value;
  a2: Value;
  /** Masked maps (B, D, n, n). */
  m1: Value;
  m2: Value;
  /** Peaks (B, D) int32, row-major cells; absent without masks. */
  mu1: Value | undefined;
  mu2: Value | undefined;
  xInterp: Value;
  xOrdin: Value;
  /** Encoder output (B, D, q, q). */
  xEnc: Value;
  /** Share of the parts, scalars: p = sigmoid(w_p). */
  p: Value;
  wP: Value;
  /** Decoder layers before and after their ReLU, (B, size) each. */
  z: Value[];
  h: Value[];
}

/**
 * The explainer network (DESIGN 1.1): interpretable track, ordinary track, mix, decoder. Parameters
 * `conv_interp_1`, `conv_interp_2`, `conv_ordin`, `mix.w_p`, `fc_dec_1` ...; states `norm_interp.alpha`,
 * `norm_ordin.alpha`. [Zhang 2018]
 */
export function buildNetwork(
  spec: NetworkSpec,
  options: NetworkOptions,
  { batch, mode }: { batch: number; mode: NetworkMode },
): Network {
  const graph = new Graph();
  const { channels, side, filters, pool, featureScale } = spec;
  const { kernel, beta } = options;
  const given = graph.input('features', [batch, channels, side, side]);
  const c = featureScale === 1 ? given : scale(given, { factor: featureScale });

  const convolution = (name: string, x: Value): Value => {
    const w = graph.parameter(`${name}.weight`, [filters, x.shape[1] ?? 0, kernel, kernel], {
      layout: 'conv_weight',
    });
    const b = graph.parameter(`${name}.bias`, [filters]);
    return conv2d(x, w, b, { pad: (kernel - 1) / 2, relu: true });
  };
  const mask = (a: Value): { y: Value; peak: Value | undefined } =>
    options.mask ? maskLayer(a, { beta }) : { y: a, peak: undefined };
  const norm = (name: string, x: Value): Value =>
    normLayer(
      pool ? maxpool2d(x, pool) : x,
      graph.state(`${name}.alpha`, [filters], { fill: -1 }),
      {
        training: mode !== 'evaluate',
        keep: mode === 'train',
        momentum: options.normMomentum,
        floor: options.normFloor,
      },
    );

  const a1 = convolution('conv_interp_1', c);
  const { y: m1, peak: mu1 } = mask(a1);
  const a2 = convolution('conv_interp_2', m1);
  const { y: m2, peak: mu2 } = mask(a2);
  const xInterp = norm('norm_interp', m2);
  const xOrdin = norm('norm_ordin', convolution('conv_ordin', c));
  const wP = graph.parameter('mix.w_p', []);
  const { y: xEnc, p } = mixTracks(xInterp, xOrdin, wP);
  const { z, h } = decoder(graph, xEnc, spec.targets);
  return { graph, c, a1, a2, m1, m2, mu1, mu2, xInterp, xOrdin, xEnc, p, wP, z, h };
}

/** One FC layer for each target, in order; a layer ends in ReLU exactly if its target does. */
function decoder(
  graph: Graph,
  xEnc: Value,
  targets: readonly TargetSpec[],
): { z: Value[]; h: Value[] } {
  if (targets.length === 0) throw expected('at least one target', 'targets', targets);
  const z: Value[] = [];
  const h: Value[] = [];
  let x = flatten(xEnc);
  targets.forEach((target, i) => {
    const name = `fc_dec_${String(i + 1)}`;
    const w = graph.parameter(`${name}.weight`, [target.size, x.shape[1] ?? 0], {
      layout: 'linear_weight',
      chw: x.chw,
    });
    const b = graph.parameter(`${name}.bias`, [target.size]);
    z.push(linear(x, w, b));
    x = target.relu ? linear(x, w, b, { relu: true }) : linear(x, w, b);
    h.push(x);
  });
  return { z, h };
}

/**
 * The decoder on its own, for encodings that someone else mixed: input `x_enc` (B, D, q, q), outputs
 * `h_1` ... of shape (B, size). Its parameters are those of `buildNetwork`, by name.
 */
export function buildDecoder(spec: NetworkSpec, batch: number): Graph {
  const graph = new Graph();
  const q = pooledSide(spec);
  const { h } = decoder(graph, graph.input('x_enc', [batch, spec.filters, q, q]), spec.targets);
  h.forEach((value, l) => {
    graph.output(`h_${String(l + 1)}`, value);
  });
  return graph;
}

/** Side of the maps after the pooling, q: what the first decoder layer sees. */
export function pooledSide(spec: NetworkSpec): number {
  const probe = new Graph();
  const x = probe.input('x', [1, 1, spec.side, spec.side]);
  return (spec.pool ? maxpool2d(x, spec.pool) : relu(x)).shape[2] ?? 1;
}
