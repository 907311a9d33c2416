import { Graph, type Value } from '../engine/graph.js';
import {
  binary,
  concat,
  conv2d,
  maskLayer,
  maxpool2d,
  partGates,
  scale,
} from '../engine/ops/index.js';
import {
  pooledSize,
  type NetworkMode,
  type NetworkOptions,
  type NetworkSpec,
} from './network_spec.js';

/** How an explainer network is made: its mode beside sizes and options. */
export interface Building {
  spec: NetworkSpec;
  options: NetworkOptions;
  mode: NetworkMode;
}

/** What the parts hand to the decoder beside their own maps. D filters, r channels of the code. */
export interface Appearance {
  /** (D): makes each filter's usual peak 1. */
  factor: Value;
  /** Code of what is seen, u = V^T c (B, r, q, r'): c the maps that the performer's later layers read. */
  code: Value;
  /** The code where some part's gate is open (B, r, q, r'). */
  gated: Value;
}

/** Channels that the decoder reads: D maps, then with appearance the gated code and the ordinary track. */
export function codeChannels({ filters }: NetworkSpec, options: NetworkOptions): number {
  const { appearance = 0, ordinaryChannels } = options;
  return filters + (appearance > 0 ? appearance + ordinaryChannels : 0);
}

/**
 * The appearance code of the parts: where a part is, the decoder also sees what is there. A part d whose
 * peak lies at mu_d opens a gate that shuts `gateRadius` cells away; gates compete for each place, and a
 * place that no part claims stays shut (see `partGates`). The sum over parts of gate times code is one map
 * of gates times the code: no tensor of parts x codes x places is made. Parameter `conv_code.weight`
 * (r, C, 1, 1), state `gate.peak` (D): the running mean of each filter's peak.
 */
export function appearance(
  { a2, mu2, site }: { a2: Value; mu2: Value; site: Value },
  { spec, options, mode }: Building,
): Appearance {
  const { graph } = a2.node;
  const shape = [options.appearance ?? 0, site.shape[1] ?? 0, 1, 1];
  const w = graph.parameter('conv_code.weight', shape, { layout: 'conv_weight' });
  const code = conv2d(site, w, undefined);
  return { code, ...gatedCode({ a2, mu2, code }, { spec, options, mode }) };
}

/** The code behind the gates of the parts that are `on` (B, D; 1 or 0), default all. */
function gatedCode(
  { a2, mu2, code, on }: { a2: Value; mu2: Value; code: Value; on?: Value },
  { spec, options, mode }: Building,
): Pick<Appearance, 'gated' | 'factor'> {
  const { height, width, filters, pool } = spec;
  const { gateRadius = 9, normMomentum: momentum, normFloor: floor } = options;
  const usual = a2.node.graph.state('gate.peak', [filters], { fill: -1 });
  const { gate, factor } = partGates(a2, mu2, usual, {
    training: mode !== 'evaluate',
    keep: mode === 'train',
    ...{ momentum, floor, power: options.gatePower, tau: options.gateFloor },
    beta: Math.sqrt(height * width) / gateRadius,
    ...(on ? { on } : {}),
  });
  return { factor, gated: binary(code, pool ? maxpool2d(gate, pool) : gate, 'mul') };
}

/**
 * The gated code on its own, for parts that someone else switches off: inputs `layer2` (B, D, n, m), `code`
 * (B, r, q, r'), `on` (B, D), 1 or 0; output `gated`. A part that is off hands its places to nobody.
 */
export function buildGates(spec: NetworkSpec, options: NetworkOptions, batch: number): Graph {
  const graph = new Graph();
  const { filters, height, width } = spec;
  const a2 = graph.input('layer2', [batch, filters, height, width]);
  const code = graph.input('code', [batch, options.appearance ?? 0, ...pooledSize(spec)]);
  const on = graph.input('on', [batch, filters]);
  const { peak: mu2 } = maskLayer(a2);
  graph.output(
    'gated',
    gatedCode({ a2, mu2, code, on }, { spec, options, mode: 'evaluate' }).gated,
  );
  return graph;
}

/**
 * The ordinary track beside an appearance code: `ordinaryChannels` linear channels of the maps that the
 * performer's later layers read, left out for some images in training (input `ordinary_kept` (B, 1, 1, 1), 1
 * or 0), so that parts alone have to do. Parameter `conv_ordin.weight`.
 */
export function ordinaryCode(site: Value, { options, mode }: Building): Value | undefined {
  const { graph } = site.node;
  const { ordinaryChannels: L, ordinaryDropout } = options;
  if (L === 0) return undefined;
  const w = graph.parameter('conv_ordin.weight', [L, site.shape[1] ?? 0, 1, 1], {
    layout: 'conv_weight',
  });
  const track = conv2d(site, w, undefined);
  if (mode === 'evaluate' || ordinaryDropout === 0) return track;
  return binary(track, graph.input('ordinary_kept', [site.shape[0] ?? 1, 1, 1, 1]), 'mul');
}

/** Both tracks as maps of all channels that the decoder reads, 0 where they have none. */
export function joinedTracks(
  maps: Value,
  gated: Value,
  ordinary: Value | undefined,
): { xInterp: Value; xOrdin: Value } {
  const parts = concat(maps, gated);
  const none = scale(parts, { factor: 0 });
  if (!ordinary) return { xInterp: parts, xOrdin: none };
  return {
    xInterp: concat(parts, scale(ordinary, { factor: 0 })),
    xOrdin: concat(none, ordinary),
  };
}
