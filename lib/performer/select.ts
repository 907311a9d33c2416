import { expected, PartlensError, show } from '../errors.js';
import { bridge, features } from './cut.js';
import { isCuttable } from './foreign.js';
import { ancestors, isMaps, type NetValue, type Network, type PoolOp } from './network.js';
import type { OnnxModel } from './onnx_model.js';
import {
  explainableLayers,
  mapsProblem,
  propose,
  proposeLearned,
  proposeLearnedLayer,
  proposeTargets,
} from './propose.js';
import { bypassOf, dependsOn, siteOf, type Site } from './tail.js';

/** How the explainer rebuilds: through the performer's own later layers, or as published. */
export type DecoderKind = 'own' | 'learned';

/** Where a network is cut: input -> layer -> site -> targets -> output. */
export interface Cut {
  layer: NetValue;
  site: Site;
  /** Values that targets and output need beside the site's maps. */
  bypass: NetValue[];
  targets: NetValue[];
  output: NetValue;
  /** The output is one that the model declares. */
  isModelOutput: boolean;
  /** What the published decoder reads the layer through, or why it cannot rebuild these targets. */
  learned: { pool: PoolOp | undefined } | string;
}

export interface CutNames {
  layer?: string;
  targets?: readonly string[];
  output: string;
  decoder?: DecoderKind;
}

/**
 * Finds the cut that `names` asks for; what they leave open is proposed. `lower` reads the part of
 * the model that some names need. Throws `E_ARGUMENT` with the reason when it cannot be explained.
 */
export function selectCut(
  model: OnnxModel,
  names: CutNames,
  lower: (wanted: string[]) => Network,
): { network: Network; cut: Cut } {
  const { output: outputName, targets: targetNames = [], decoder = 'own' } = names;
  if (names.targets?.length === 0) throw refuse('at least one name', 'targets', 'none');
  const layerNames = names.layer === undefined ? [] : [names.layer];
  const network = lower([outputName, ...layerNames, ...targetNames]);
  const get = (name: string): NetValue => {
    const value = network.names.get(name);
    if (value) return value;
    throw new PartlensError('E_INTERNAL', `${name} was not read`);
  };
  const output = get(outputName);
  const layer = layerNames.map(get)[0] ?? proposed(network, output, decoder);
  const problem = layerProblem(network, layer, output);
  if (problem !== undefined) throw unexplainable(network, layer, output, problem);
  const targets =
    targetNames.length > 0
      ? targetNames.map(get)
      : decoder === 'learned'
        ? proposeLearned(features(network, layer))
        : proposeTargets(network, layer, output);
  for (const value of [...targets, output]) {
    if (isCuttable(network, value)) continue;
    const what =
      'a tensor of the file with the images along its first axis, as onnxruntime needs it,';
    throw refuse(what, value === output ? 'output' : 'targets', value.name);
  }
  const site = siteOf(network, layer);
  checkTargets(network, site.value, targets);
  const learned = learnedWay(network, { layer, targets, output });
  if (decoder === 'learned' && typeof learned === 'string') {
    throw unexplainable(network, layer, output, `the decoder learned cannot: ${learned}`);
  }
  const bypass = bypassOf(network, site.value, [...targets, output]);
  const isModelOutput = model.outputs.some((name) => network.names.get(name) === output);
  return { network, cut: { layer, site, bypass, targets, output, isModelOutput, learned } };
}

function proposed(network: Network, output: NetValue, decoder: DecoderKind): NetValue {
  const layer =
    decoder === 'learned' ? proposeLearnedLayer(network) : propose(network, output)?.layer;
  if (layer) return layer;
  throw expected('a network with a layer that can be explained', 'model', network.path, {
    op: 'loadPerformer',
    remedy: 'partlens inspect tells of each layer why it cannot.',
  });
}

/** Why `layer` cannot be explained through `output`, or undefined. */
export function layerProblem(
  network: Network,
  layer: NetValue,
  output: NetValue,
): string | undefined {
  const problem = mapsProblem(network, layer);
  if (problem !== undefined) return problem;
  return dependsOn(network, output, layer)
    ? undefined
    : `${show(output.name)} does not depend on it`;
}

/** Targets lie behind the rebuilt maps, each after the one before. */
function checkTargets(network: Network, site: NetValue, targets: readonly NetValue[]): void {
  const places = targets.map((target) => network.values.indexOf(target));
  targets.forEach((target, i) => {
    if (!dependsOn(network, target, site)) {
      const what = `features that are computed from ${show(site.name)}`;
      throw refuse(what, 'targets', target.name);
    }
    if (i > 0 && (places[i] ?? 0) <= (places[i - 1] ?? 0)) {
      throw refuse(
        'targets in the order of the network',
        'targets',
        targets.map(({ name }) => name),
      );
    }
  });
}

/** The way of the published decoder: fully connected layers, one for each target, then the head. */
function learnedWay(
  network: Network,
  { layer, targets, output }: Pick<Cut, 'layer' | 'targets' | 'output'>,
): Cut['learned'] {
  const [first] = targets;
  const last = targets.at(-1);
  if (!first || !last) return 'it has no target';
  let pool: PoolOp | undefined;
  for (const target of targets) {
    if (isMaps(target)) return `${show(target.name)} has maps`;
    const way = bridge(network, layer, target);
    if (typeof way === 'string') return way;
    if (target === first) ({ pool } = way);
  }
  for (const [i, target] of targets.entries()) {
    const before = targets[i - 1];
    if (before && !ancestors(target).has(before)) {
      return `${show(target.name)} does not follow from ${show(before.name)}`;
    }
  }
  const behind = ancestors(output, new Set([last]));
  if (!behind.has(last) || behind.has(network.input)) {
    return `${show(output.name)} does not depend on ${show(last.name)} alone`;
  }
  return { pool };
}

function unexplainable(
  network: Network,
  layer: NetValue,
  output: NetValue,
  reason: string,
): PartlensError {
  const names = explainableLayers(network, output).map(({ name }) => show(name));
  const shown = names.length > 12 ? [...names.slice(0, 3), '...', ...names.slice(-8)] : names;
  const known = names.length === 0 ? 'none' : shown.join(', ');
  return expected('a layer that can be explained', 'layer', layer.name, {
    op: 'loadPerformer',
    details: { layer: layer.name, reason },
    remedy: `${show(layer.name)} cannot: ${reason}. Layers that can be explained: ${known}.`,
  });
}

function refuse(what: string, name: string, received: unknown): PartlensError {
  return expected(what, name, received, { op: 'loadPerformer' });
}
