import { expected } from '../errors.js';
import { Graph, type Value } from '../engine/graph.js';
import {
  conv2d,
  flatten,
  imageNorm,
  linear,
  maskLayer,
  maxpool2d,
  mixTracks,
  normLayer,
  scale,
} from '../engine/ops/index.js';
import {
  appearance,
  codeChannels,
  joinedTracks,
  ordinaryCode,
  type Appearance,
} from './appearance.js';
import {
  pooledSize,
  type NetworkMode,
  type NetworkOptions,
  type NetworkSpec,
  type SiteSpec,
  type TargetSpec,
} from './network_spec.js';

/** Encodings that are decoded together. */
export const DECODE_BATCH = 64;

/** The values of one explainer network, in the letters of the method. */
export interface Network {
  graph: Graph;
  /** Input `features` (B, C, n, m), and what the tracks read: the same times `featureScale`. */
  given: Value;
  c: Value;
  /** Maps of the interpretable layers (B, D, n, m), post-ReLU, before the mask. */
  a1: Value;
  a2: Value;
  /** Masked maps (B, D, n, m). */
  m1: Value;
  m2: Value;
  /** Peaks (B, D) int32, row-major cells; absent without masks. */
  mu1: Value | undefined;
  mu2: Value | undefined;
  /** What the parts hand on beside their maps; undefined in the published form. */
  seen: Appearance | undefined;
  xInterp: Value;
  xOrdin: Value;
  /** Encoder output (B, E, q, r): E = D, or with appearance all of `codeChannels`. */
  xEnc: Value;
  /** Weight of the parts' track in the mix, scalars: p = sigmoid(w_p). */
  p: Value;
  wP: Value;
  /**
   * Decoder layers before and after their ReLU: (B, size) for each target, or with the decoder `own` one,
   * the maps of the site (B, S, q, r) over `featureScale`.
   */
  z: Value[];
  h: Value[];
}

/**
 * The explainer network (DESIGN 1.1): interpretable track, ordinary track, mix, decoder. Parameters
 * `conv_interp_1`, `conv_interp_2`, `conv_ordin`, `mix.w_p`, and `fc_dec_1` ... or `conv_dec`; states
 * `norm_interp.alpha`, `norm_ordin.alpha`. [Zhang 2018]
 *
 * With a site (decoder `own`) `norm_ordin` keeps the strengths that it found in the first batch. Gradients
 * take running means for constants, so a filter that is to answer more weakly has its mean lowered, is scaled
 * up again, and so on: where the code is passed on exactly, the squared error of the rebuilt maps grew
 * tenfold in 200 steps.
 *
 * With `context` `conv_interp_1` has a kernel of its own, with `contextChannels` it reads linear channels
 * (`conv_interp_0`). With `appearance` each part opens a gate through which the decoder sees a code of what is there, and the
 * ordinary track is a few linear channels: `conv_code`, `gate.peak`, see `appearance`.
 *
 * With `tracks: 'ordinary'` the encoder's output is the ordinary track alone: the ceiling of what a code
 * of D channels lets the performer's later layers see.
 */
export function buildNetwork(
  spec: NetworkSpec,
  options: NetworkOptions,
  { batch, mode }: { batch: number; mode: NetworkMode },
): Network {
  const graph = new Graph();
  const { channels, height, width, filters, pool, featureScale } = spec;
  const { kernel, beta } = options;
  const given = graph.input('features', [batch, channels, height, width]);
  const c = featureScale === 1 ? given : scale(given, { factor: featureScale });

  const pooled = (x: Value): Value => (pool ? maxpool2d(x, pool) : x);
  const convolution = (name: string, x: Value, side = kernel): Value => {
    const w = graph.parameter(`${name}.weight`, [filters, x.shape[1] ?? 0, side, side], {
      layout: 'conv_weight',
    });
    const b = graph.parameter(`${name}.bias`, [filters]);
    return conv2d(x, w, b, { pad: (side - 1) / 2, relu: true });
  };
  const mask = (a: Value): { y: Value; peak: Value | undefined } =>
    options.mask ? maskLayer(a, { beta }) : { y: a, peak: undefined };
  const norm = (name: string, x: Value, momentum: number): Value =>
    normLayer(pooled(x), graph.state(`${name}.alpha`, [filters], { fill: -1 }), {
      training: mode !== 'evaluate',
      keep: mode === 'train',
      momentum,
      floor: options.normFloor,
    });

  const a1 = convolution('conv_interp_1', readByParts(c, options), options.context);
  const { y: m1, peak: mu1 } = mask(a1);
  const a2 = convolution('conv_interp_2', m1);
  const { y: m2, peak: mu2 } = mask(a2);
  const { normMomentum } = options;
  const maps = norm('norm_interp', m2, normMomentum);
  const building = { spec, options, mode };
  const site = pooled(c);
  const seen = options.appearance
    ? appearance({ a2, mu2: mu2 ?? maskLayer(a2, { beta }).peak, site }, building)
    : undefined;
  const { xInterp, xOrdin } = seen
    ? joinedTracks(maps, seen.gated, ordinaryCode(site, building))
    : {
        xInterp: maps,
        xOrdin: norm('norm_ordin', convolution('conv_ordin', c), spec.site ? 1 : normMomentum),
      };
  const wP = graph.parameter('mix.w_p', []);
  const { y: mixed, p } = mixTracks(xInterp, xOrdin, wP);
  const xEnc = options.tracks === 'ordinary' ? xOrdin : mixed;
  const { z, h } = decoder(graph, xEnc, spec, options);
  const encoded = { a1, a2, m1, m2, mu1, mu2, seen, xInterp, xOrdin, xEnc };
  return { graph, given, c, ...encoded, p, wP, z, h };
}

/**
 * What `conv_interp_1` reads of the features: with `imageNorm` each photograph at one norm, with
 * `contextChannels` linear channels of it, parameter `conv_interp_0.weight`. A wide kernel over few channels costs no
 * more than a small one over all of them, and sees what a part lies beside.
 */
function readByParts(c: Value, { imageNorm: target, contextChannels: K }: NetworkOptions): Value {
  const { graph } = c.node;
  const seen = target ? imageNorm(c, { target }) : c;
  if (!K) return seen;
  const channels = c.shape[1] ?? 0;
  const shape = [Math.min(K, channels), channels, 1, 1];
  const w = graph.parameter('conv_interp_0.weight', shape, { layout: 'conv_weight' });
  return conv2d(seen, w, undefined);
}

/** The decoder of the spec: `conv_dec` where it has a site, or else fully connected layers. */
function decoder(
  graph: Graph,
  xEnc: Value,
  { site, targets }: NetworkSpec,
  options: NetworkOptions,
): { z: Value[]; h: Value[] } {
  return site ? ownDecoder(graph, xEnc, site, options) : learnedDecoder(graph, xEnc, targets);
}

/** A convolution from the encoding to the maps that the performer's own later layers read. */
function ownDecoder(
  graph: Graph,
  xEnc: Value,
  { channels, relu: rectified }: SiteSpec,
  { decoderKernel: k }: NetworkOptions,
): { z: Value[]; h: Value[] } {
  const shape = [channels, xEnc.shape[1] ?? 0, k, k];
  const w = graph.parameter('conv_dec.weight', shape, { layout: 'conv_weight' });
  const b = graph.parameter('conv_dec.bias', [channels]);
  const pad = (k - 1) / 2;
  const z = conv2d(xEnc, w, b, { pad });
  return { z: [z], h: [rectified ? conv2d(xEnc, w, b, { pad, relu: true }) : z] };
}

/** One FC layer for each target, in order; a layer ends in ReLU exactly if its target does. */
function learnedDecoder(
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

/** Maps of the site in the performer's own units, from the decoder's. */
export function siteUnits(maps: Value, { featureScale }: NetworkSpec): Value {
  return featureScale === 1 ? maps : scale(maps, { factor: 1 / featureScale });
}

/**
 * The decoder on its own, for encodings that someone else mixed: input `x_enc` (B, D, q, r), outputs
 * `h_1` ... of shape (B, size), or the maps of the site in the performer's units. Its parameters are those
 * of `buildNetwork`, by name.
 */
export function buildDecoder(spec: NetworkSpec, options: NetworkOptions, batch: number): Graph {
  const graph = new Graph();
  const { h } = decoder(
    graph,
    graph.input('x_enc', [batch, codeChannels(spec, options), ...pooledSize(spec)]),
    spec,
    options,
  );
  h.forEach((value, l) => {
    graph.output(`h_${String(l + 1)}`, spec.site ? siteUnits(value, spec) : value);
  });
  return graph;
}

/** Values that the decoder gives for one image, by output: `h_1` ... */
export function decodedSizes(spec: NetworkSpec): Record<`h_${number}`, number> {
  const { site, targets } = spec;
  const [q, r] = pooledSize(spec);
  const sizes = site ? [site.channels * q * r] : targets.map(({ size }) => size);
  return Object.fromEntries(sizes.map((size, l) => [`h_${String(l + 1)}`, size]));
}

/** What the reconstruction loss compares, by name: the site's maps where there is one, and the targets. */
export function rebuiltNames({
  site,
  targets,
}: {
  site?: SiteSpec | undefined;
  targets: readonly TargetSpec[];
}): string[] {
  return [...(site ? [site.name] : []), ...targets.map(({ name }) => name)];
}
