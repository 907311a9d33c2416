import { gradient, type Seed } from '../engine/grad.js';
import { PartlensError } from '../errors.js';
import type { Graph, Value } from '../engine/graph.js';
import {
  add,
  balanceGradient,
  compete,
  contributionLoss,
  filterLoss,
  klDivergence,
  maxpool2d,
  mean,
  meanSquare,
  overlap,
  projectNorm,
  scale,
} from '../engine/ops/index.js';
import { adam, clipGradients, sgd } from '../engine/optimizer/index.js';
import type { TailPart } from '../performer/index.js';
import { buildNetwork, siteUnits, type Network } from './network.js';
import type { NetworkSpec } from './network_spec.js';
import { hasFilterLoss, type TrainOptions } from './options.js';

/** The terms of the loss, all scalars. */
export interface LossTerms {
  /** lambda_l mean((h_l - x*_l)^2) / mean(x*_l^2), one for each of `rebuiltNames`. */
  rec: Value[];
  /** lambda_kl KL(softmax(performer's logits) | softmax(rebuilt)), mean over images; decoder `own`. */
  kl: Value | undefined;
  /** -eta log p. */
  contribution: Value;
  /** Mean over filters of the filter loss of each interpretable layer, without its weight. */
  filter: Value[];
  /** Overlap of the filters of each interpretable layer, without its weight; undefined where that is 0. */
  overlap: (Value | undefined)[];
  /** The weights lambda_f of this step, one for each of `filter`. */
  lambda: Value[];
}

/** What a training step is built for. */
export interface StepSpec {
  /** Images. */
  batch: number;
  /** mean(x*_l^2) over the training features, one for each of `rebuiltNames`. */
  targetPower: readonly number[];
  /** The performer's later layers; undefined: with the decoder `own` the maps alone are compared. */
  tail?: TailPart | undefined;
}

export interface TrainingGraph extends LossTerms {
  graph: Graph;
  network: Network;
  /** Gradient of the whole loss with respect to each parameter, by name. */
  gradients: Map<string, Value>;
}

/** The interpretable layers whose filters carry the filter loss. */
export const INTERPRETABLE = ['conv_interp_1', 'conv_interp_2'] as const;

/**
 * The training step of DESIGN 1.2: losses, balanced gradients, optimizer, projection. Inputs
 * `features` (B, C, n, m), `target_1` ... (B, ...), `hyper` (3), `diversity_l` (see
 * `overlapWeights`) for each layer with an overlap; with the performer's later layers also `bypass_1` ...
 * and, for a classifier, `logits` (B, classes). Outputs `rec_l`, `kl`, `contribution`, `filter_l`,
 * `overlap_l`, `lambda_l`, `p`.
 */
export function buildTrainingGraph(
  spec: NetworkSpec,
  options: TrainOptions,
  step: StepSpec,
): TrainingGraph {
  const network = buildNetwork(spec, options, { batch: step.batch, mode: 'train' });
  const { graph, p } = network;
  const terms = lossTerms(network, spec, options, step);
  const seeds = lossSeeds(network, terms, options);
  const parameters = graph.parameters();
  const found = gradient(seeds, parameters);
  const pairs = parameters.flatMap((w, i) => {
    const grad = found[i];
    return grad ? [[w, grad] as const] : [];
  });
  appendOptimizer(graph, pairs, options);

  for (const name of ['rec', 'filter', 'overlap', 'lambda'] as const) {
    terms[name].forEach((value, l) => {
      if (value) graph.output(`${name}_${String(l + 1)}`, value);
    });
  }
  if (terms.kl) graph.output('kl', terms.kl);
  graph.output('contribution', terms.contribution);
  graph.output('p', p);
  const gradients = new Map(pairs.map(([w, grad]) => [w.node.name, grad]));
  return { graph, network, gradients, ...terms };
}

/** The reconstruction of the published decoder: each layer against its target. */
function learnedTerms(
  { graph, h }: Network,
  options: TrainOptions,
  { targetPower }: StepSpec,
): Pick<LossTerms, 'rec' | 'kl'> {
  const rec = h.map((value, l) => {
    const target = graph.input(`target_${String(l + 1)}`, value.shape);
    return meanSquare(value, target, { weight: weightOf(options, l) / (targetPower[l] ?? 1) });
  });
  return { rec, kl: undefined };
}

/**
 * The reconstruction through the performer's own later layers: the rebuilt maps against the layer's own
 * (behind its pooling), then every target, and the classes, computed from the rebuilt maps.
 */
function ownTerms(
  { graph, given, h }: Network,
  spec: NetworkSpec,
  options: TrainOptions,
  { batch, targetPower, tail }: StepSpec,
): Pick<LossTerms, 'rec' | 'kl'> {
  const [maps] = h;
  if (!maps) throw new PartlensError('E_INTERNAL', 'the decoder has no maps');
  const rebuilt = siteUnits(maps, spec);
  const site = spec.pool ? maxpool2d(given, spec.pool) : given;
  const weight = options.lambdaMaps / (targetPower[0] ?? 1);
  const ofMaps = meanSquare(rebuilt, site, { weight });
  if (!tail) return { rec: [ofMaps], kl: undefined };
  const { targets, logits } = tail.append(graph, rebuilt, tail.bypassInputs(graph, batch));
  const ofTargets = targets.map((value, l) => {
    const { shape, layout, chw } = value;
    const target = graph.input(`target_${String(l + 1)}`, shape, { layout, chw });
    const power = targetPower[l + 1] ?? 1;
    return meanSquare(value, target, { weight: weightOf(options, l) / power });
  });
  const rec = [ofMaps, ...ofTargets];
  if (!logits || options.lambdaKl === 0) return { rec, kl: undefined };
  const wanted = graph.input('logits', logits.shape, { layout: 'rows', chw: logits.chw });
  return { rec, kl: scale(klDivergence(logits, wanted), { factor: options.lambdaKl }) };
}

function lossTerms(
  network: Network,
  spec: NetworkSpec,
  options: TrainOptions,
  step: StepSpec,
): LossTerms {
  const { graph, wP, a1, a2 } = network;
  const { rec, kl } = spec.site
    ? ownTerms(network, spec, options, step)
    : learnedTerms(network, options, step);
  const contribution = contributionLoss(wP, { eta: options.eta });
  const { beta, kappa, tau, alpha, normMomentum: momentum, normFloor: floor } = options;
  const maps = hasFilterLoss(options) ? [a1, a2] : [];
  const given = {
    ...(tau === undefined ? {} : { tau }),
    ...(alpha === undefined ? {} : { alpha }),
  };
  const charged =
    spec.classes && options.balance && maps.length > 0
      ? graph.input('foreign', [step.batch, spec.filters])
      : undefined;
  const filter = maps.map((a, l) => {
    const name = `filter_loss_${String(l + 1)}.peak`;
    const peak = graph.state(name, [a.shape[1] ?? 1], { fill: -1 });
    const share = l === 1 && network.seen ? (options.competition ?? 0) : 0;
    const foreign = charged && scale(charged, { factor: (options.balance ?? 0) / (1 - share) });
    const scaled = { scale: options.scale, beta, kappa, momentum, floor, ...given };
    const own = mean(filterLoss(a, peak, foreign ? { ...scaled, foreign } : scaled));
    if (share === 0) return own;
    const won = competingMaps(network, options);
    const ofUsual = { beta, ...given, scale: 'paper', tau: (tau ?? 1) * kappa } as const;
    const competing = mean(filterLoss(won, graph.constant(1, [spec.filters]), ofUsual));
    return add(scale(own, { factor: 1 - share }), scale(competing, { factor: share }));
  });
  const weights = overlapWeights(options, 0);
  const apart = maps.map((a, l) =>
    weights[`diversity_${String(l + 1)}`] ? overlap(a) : undefined,
  );
  return { rec, kl, contribution, filter, overlap: apart, lambda: [] };
}

/** Maps of conv_interp_2 over their usual peak, each times its share of the place: the strongest counts there. */
function competingMaps({ a2, seen }: Network, { gatePower, gateFloor }: TrainOptions): Value {
  const factor = seen?.factor;
  if (!factor) throw new PartlensError('E_INTERNAL', 'maps compete where parts have gates');
  return compete(a2, { factor, power: gatePower, tau: gateFloor });
}

/**
 * Inputs `diversity_l` of the training step after the share `done` of all steps: the weight of each
 * layer's overlap beside its mean filter loss, before lambda_f if that is balanced; none where it is 0
 * throughout.
 */
export function overlapWeights(options: TrainOptions, done: number): Record<string, Float32Array> {
  const { lambdaFilter, rho, diversity, diversityFirst, diversityEnd, tracks } = options;
  if (tracks === 'ordinary') return {};
  const fixed = lambdaFilter === 'balanced' ? Math.sign(rho) : lambdaFilter;
  const now = fixed * diversity * (1 + (diversityEnd - 1) * done);
  const layers = fixed * diversity === 0 ? [] : diversityFirst > 0 ? [1, 2] : [2];
  return Object.fromEntries(
    layers.map((l) => [
      `diversity_${String(l)}`,
      Float32Array.of(l === 1 ? now * diversityFirst : now),
    ]),
  );
}

/** lambda_l of target l. */
export function weightOf({ lambdaRec }: Pick<TrainOptions, 'lambdaRec'>, l: number): number {
  return typeof lambdaRec === 'number' ? lambdaRec : (lambdaRec[l] ?? 1);
}

/**
 * Where the gradient of the whole loss starts. Balanced: lambda_f = rho |dL_rec/da| / |dF/da| for each
 * layer, L_rec back-propagated alone, so that no filter loss weighs another; F the mean filter loss
 * plus the overlap times its weight of this step.
 */
function lossSeeds(
  network: Network,
  terms: LossTerms,
  { lambdaFilter, rho }: TrainOptions,
): Seed[] {
  const { graph, a1, a2 } = network;
  const rec: Seed[] = [...terms.rec, ...(terms.kl ? [terms.kl] : [])].map((of) => ({ of }));
  const seeds = [...rec, { of: terms.contribution }];
  if (terms.filter.length === 0) return seeds;
  const apart = terms.overlap.map((of, l): Seed[] =>
    of ? [{ of, gradient: graph.input(`diversity_${String(l + 1)}`, []) }] : [],
  );
  if (lambdaFilter !== 'balanced') {
    const lambda = graph.constant(lambdaFilter);
    terms.lambda.push(...terms.filter.map(() => lambda));
    return [...seeds, ...terms.filter.map((of) => ({ of, gradient: lambda })), ...apart.flat()];
  }
  const maps = [a1, a2];
  const ofRec = gradient(rec, maps);
  const balanced = maps.flatMap((a, l) => {
    const own = terms.filter.slice(l, l + 1).map((of) => ({ of }));
    const [direct] = gradient([...own, ...(apart[l] ?? [])], [a]);
    const back = ofRec[l];
    if (!direct || !back) return [];
    const weight = balanceGradient(back, direct, { rho });
    terms.lambda.push(weight);
    return [{ of: a, gradient: direct, scale: weight }];
  });
  return [...seeds, ...balanced];
}

function isDecoder(name: string): boolean {
  return /^(fc_dec|conv_dec|conv_code)/.test(name);
}

function appendOptimizer(
  graph: Graph,
  pairs: (readonly [Value, Value])[],
  options: TrainOptions,
): void {
  const hyper = graph.input('hyper', [3]);
  const { beta1, beta2, eps, momentum, weightDecay, clipNorm: most } = options;
  const isCode = (name: string): boolean =>
    isDecoder(name) || (!!options.appearance && name.startsWith('conv_ordin'));
  const lrScale = (name: string): number =>
    name === 'mix.w_p' ? options.lrScaleP : isCode(name) ? options.lrScaleDecoder : 1;
  const steps = most === undefined ? pairs : clipGradients(pairs, most);
  const rule = (of: typeof steps, at: Value): Map<string, Value> =>
    options.optimizer === 'adam'
      ? adam(of, at, { beta1, beta2, eps, weightDecay, lrScale })
      : sgd(of, at, { momentum, weightDecay, lrScale });
  const isFilter = ([w]: (typeof steps)[number]): boolean =>
    (options.filterShare ?? 1) < 1 && w.node.name.startsWith('conv_interp');
  const updated = rule(
    steps.filter((pair) => !isFilter(pair)),
    hyper,
  );
  const filters = steps.filter(isFilter);
  if (filters.length > 0) {
    for (const [name, w] of rule(filters, graph.input('hyper_filters', [3]))) updated.set(name, w);
  }
  if (!(options.project ?? options.scale === 'peak')) return;
  for (const layer of INTERPRETABLE) {
    const w = updated.get(`${layer}.weight`);
    if (!w) continue;
    const norm = graph.state(`${layer}.norm`, [w.shape[0] ?? 1], { fill: 1 });
    graph.update(projectNorm(w, norm));
  }
}
