import { gradient, type Seed } from '../../lib/engine/grad.js';
import { Graph, type Value } from '../../lib/engine/graph.js';
import {
  activation,
  add,
  affine,
  asMaps,
  avgpool2d,
  balanceGradient,
  binary,
  channelNorm,
  clip,
  compete,
  concat,
  contributionLoss,
  conv2d,
  depthwiseConv2d,
  dropout,
  filterLoss,
  flatten,
  klDivergence,
  groupedConv2d,
  gatherChannels,
  groupNorm,
  imageNorm,
  linear,
  lrn,
  maskLayer,
  maxpool2d,
  mean,
  meanSquare,
  mixTracks,
  normLayer,
  overlap,
  partGates,
  prelu,
  pad2d,
  projectNorm,
  relu,
  resize2d,
  scale,
  sliceMaps,
  softmax,
  softmaxCrossEntropy,
} from '../../lib/engine/ops/index.js';
import type { Shape } from '../../lib/engine/tensor.js';
import { adam, clipGradients, sgd } from '../../lib/engine/optimizer/index.js';

/**
 * A training step in which every kernel occurs: inputs `x` (N, 5, 12, 12), `labels` (N), `seed` (2),
 * `hyper` (3), `target` (N, 7); outputs `loss`, `filter`, `apart`, `lambda`, `rest`, `divergence`,
 * `contribution`, `dw`, `norm`.
 */
export function everyOp(N = 2): Graph {
  const graph = new Graph();
  const seed = graph.input('seed', [2], { dtype: 'i32' });
  const encoded = encoder(graph, graph.input('x', [N, 5, 12, 12]), seed);
  const hidden = dropout(dense(graph, 'fc1', flatten(encoded.y), 9, true), seed, { rate: 0.3 });
  const logits = dense(graph, 'fc3', dense(graph, 'fc2', hidden, 8, true), 7, false);
  const labels = graph.input('labels', [N], { dtype: 'i32' });
  const { loss } = softmaxCrossEntropy(logits, labels);
  const target = graph.input('target', [N, 7]);
  const rest = meanSquare(softmax(logits), target, { weight: 0.5 });
  const divergence = klDivergence(logits, target);
  const contribution = contributionLoss(encoded.wP, { eta: 0.2 });
  const peak = graph.state('peak', [6], { fill: -1 });
  const filter = mean(filterLoss(encoded.a, peak, { foreign: graph.constant(0.1, [N, 6]) }));
  const apart = overlap(encoded.a);

  const seeds: Seed[] = [{ of: loss }, { of: rest }, { of: divergence }, { of: contribution }];
  const [back] = gradient(seeds, [encoded.a]);
  const [direct] = gradient([{ of: filter }, { of: apart }], [encoded.a]);
  if (!back || !direct) throw new Error('no gradient');
  const lambda = balanceGradient(back, direct, { rho: 2 });
  seeds.push({ of: encoded.a, gradient: direct, scale: lambda });
  const pairs = gradient(seeds, graph.parameters()).flatMap((grad, i) => {
    const w = graph.parameters()[i];
    return w && grad ? [[w, grad] as const] : [];
  });
  const hyper = graph.input('hyper', [3]);
  const byAdam = ([{ node }]: (typeof pairs)[number]): boolean => /^conv1|^fc1/.test(node.name);
  const updated = adam(pairs.filter(byAdam), hyper);
  const bySgd = pairs.filter((pair) => !byAdam(pair));
  const ofConvolution = ([{ node }]: (typeof pairs)[number]): boolean =>
    node.name.startsWith('conv');
  const clipped = clipGradients(bySgd.filter(ofConvolution), 0.5);
  const asTheyAre = bySgd.filter((pair) => !ofConvolution(pair));
  sgd([...clipped, ...asTheyAre], hyper, { weightDecay: 1e-4 });
  const [, dw] = bySgd.find(([{ node }]) => node.name === 'fc3.weight') ?? [];
  if (!dw) throw new Error('no gradient');
  const w = updated.get('conv1.weight');
  if (w) graph.update(projectNorm(w, graph.constant(1, [6])));
  for (const [name, value] of Object.entries({
    loss,
    filter,
    apart,
    lambda,
    rest,
    divergence,
    contribution,
    dw,
  })) {
    graph.output(name, value);
  }
  return graph;
}

function encoder(graph: Graph, x: Value, seed: Value): { a: Value; y: Value; wP: Value } {
  const a = relu(convolution(graph, 'conv1', scale(x, { factor: 0.9 }), 6));
  const masked = gated(graph, a);
  const pool = { kernel: 3, stride: 2, ceil: true };
  const pooled = maxpool2d(lrn(masked, { size: 3 }), pool);
  const second = elementwise(graph, imageNorm(convolution(graph, 'conv2', x, 6, 2)));
  const mixed = dropout(relu(second), seed, { rate: 0.1, salt: 1 });
  const averaged = avgpool2d(concat(compete(mixed), clip(mixed, { lo: -2, hi: 2 })), {
    kernel: 3,
    stride: 1,
    pad: 1,
  });
  const around = add(averaged, moved(graph, averaged));
  const joined = inGroups(graph, convolution(graph, 'conv3', around, 6));
  const norm = (name: string, maps: Value): Value =>
    normLayer(maps, graph.state(name, [6], { fill: -1 }), { training: true });
  const wP = graph.parameter('w_p', []);
  const { y } = mixTracks(norm('alpha_1', add(pooled, joined)), norm('alpha_2', joined), wP);
  const fetched = norm('alpha_3', maxpool2d(maskLayer(a, { beta: 2 }).y, pool));
  graph.output('norm', fetched); // keeps this norm_layer and its mix_tracks apart
  return { a, y: mixTracks(fetched, y, wP).y, wP };
}

/** Masked maps behind the gates of their parts. */
function gated(graph: Graph, a: Value): Value {
  const { y, peak } = maskLayer(a, { beta: 3 });
  const alpha = graph.state('alpha_gate', [6], { fill: -1 });
  return binary(y, partGates(a, peak, alpha, { training: true }).gate, 'mul');
}

/** Convolutions whose weights nobody trains. */
function inGroups(graph: Graph, x: Value): Value {
  const weight = (shape: Shape): Value => graph.constant(0.1, shape, { layout: 'conv_weight' });
  const y = groupedConv2d(x, weight([6, 3, 1, 1]), undefined, { groups: 2 });
  const z = depthwiseConv2d(y, weight([6, 1, 3, 3]), graph.constant(0.1, [6]), { pad: 1 });
  const expanded = conv2d(z, weight([6, 6, 1, 1]), undefined);
  return depthwiseConv2d(expanded, weight([6, 1, 3, 3]), undefined, { pad: 1 });
}

/** Maps that are scaled by a gate made of them, each value through a function of its own. */
function elementwise(graph: Graph, x: Value): Value {
  const values = (name: string): Value => graph.state(name, [6], { fill: 0.5 });
  const moved = affine(x, values('scale'), values('shift'), { relu: true });
  const gate = activation(flatten(avgpool2d(x, { kernel: 6, stride: 6 })), 'sigmoid');
  return prelu(binary(moved, asMaps(gate), 'mul'), values('slope'));
}

/** Ops that move and normalise maps; tables are constants, so that the inputs stay few. */
function moved(graph: Graph, x: Value): Value {
  const [, C = 1, H = 1, W = 1] = x.shape;
  const table = (size: number): { low: Value; high: Value; share: Value } => ({
    low: graph.constant(1, [size], { dtype: 'i32' }),
    high: graph.constant(2, [size], { dtype: 'i32' }),
    share: graph.constant(0.25, [size]),
  });
  const framed = pad2d(x, { pad: [1, 2, 0, 1], mode: 'reflect' });
  const part = sliceMaps(framed, { columns: { first: W + 1, step: -1, count: W } });
  const resized = resize2d(part, { rows: table(H), columns: table(W) });
  const normal = groupNorm(channelNorm(resized), { groups: 2 });
  return gatherChannels(normal, graph.constant(1, [C], { dtype: 'i32' }));
}

function convolution(graph: Graph, name: string, x: Value, filters: number, stride = 1): Value {
  const shape = [filters, x.shape[1] ?? 0, 3, 3];
  const w = graph.parameter(`${name}.weight`, shape, { layout: 'conv_weight', fill: 0.05 });
  return conv2d(x, w, graph.parameter(`${name}.bias`, [filters]), { pad: 1, stride });
}

function dense(graph: Graph, name: string, x: Value, size: number, active: boolean): Value {
  const options = { layout: 'linear_weight', chw: x.chw, fill: 0.05 } as const;
  const w = graph.parameter(`${name}.weight`, [size, x.shape[1] ?? 0], options);
  return linear(x, w, graph.parameter(`${name}.bias`, [size]), { relu: active });
}
