import { expected, PartlensError, show } from '../errors.js';
import { bridge, features } from './cut.js';
import { ancestors, isMaps, type NetValue, type Network, type PoolOp } from './network.js';
import type { OnnxModel } from './onnx_read.js';
import { explainableLayers, mapsProblem, propose, proposeTargets } from './propose.js';

/** Where a network is cut: input -> layer -> targets -> output. */
export interface Cut {
  layer: NetValue;
  targets: NetValue[];
  output: NetValue;
  pool: PoolOp | undefined;
  /** The output is one that the model declares. */
  isModelOutput: boolean;
}

export interface CutNames {
  layer?: string;
  targets?: readonly string[];
  output?: string;
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
  const outputName = names.output ?? onlyOutput(model);
  const { targets: targetNames = [] } = names;
  if (names.targets?.length === 0) throw refuse('at least one name', 'targets', 'none');
  const layerNames = names.layer === undefined ? [] : [names.layer];
  const network = lower([outputName, ...layerNames, ...targetNames]);
  const get = (name: string): NetValue => {
    const value = network.names.get(name);
    if (value) return value;
    throw new PartlensError('E_INTERNAL', `${name} was not read`);
  };
  const output = get(outputName);
  if (isMaps(output)) throw refuse('a feature vector', 'output', ['N', ...output.shape]);
  const chosen = choose(network, layerNames.map(get)[0], targetNames.map(get));
  const pool = checkCut(network, { ...chosen, output });
  const isModelOutput = model.outputs.some((name) => network.names.get(name) === output);
  return { network, cut: { ...chosen, output, pool, isModelOutput } };
}

function onlyOutput(model: OnnxModel): string {
  const [first, second] = model.outputs;
  if (first !== undefined && second === undefined) return first;
  throw refuse(`one of ${model.outputs.map(show).join(', ')}`, 'output', undefined);
}

/** Fills in a layer or targets that are not given. */
function choose(
  network: Network,
  layer: NetValue | undefined,
  targets: NetValue[],
): { layer: NetValue; targets: NetValue[] } {
  const [first] = targets;
  if (layer && first) return { layer, targets };
  if (layer) {
    const problem = mapsProblem(layer);
    if (problem !== undefined) throw unexplainable(network, layer, problem);
    const proposal = proposeTargets(layer, features(network, layer));
    if (proposal) return proposal;
    const [output = network.input] = network.outputs;
    const way = bridge(network, layer, output);
    throw unexplainable(network, layer, typeof way === 'string' ? way : 'no feature follows it');
  }
  const proposal = propose(network);
  if (!proposal) {
    throw expected('a network with a layer that can be explained', 'model', network.path, {
      op: 'loadPerformer',
      remedy: 'partlens inspect tells of each layer why it cannot.',
    });
  }
  if (!first) return proposal;
  const fitting = explainableLayers(network).filter(
    (one) => typeof bridge(network, one.layer, first) !== 'string',
  );
  const same = fitting.find((one) => one.layer === proposal.layer) ?? fitting.at(-1);
  if (same) return { layer: same.layer, targets };
  throw refuse('a feature that some layer can rebuild', 'targets', first.name);
}

/** Checks the whole way from layer to output and finds the pooling on it. */
function checkCut(
  network: Network,
  { layer, targets, output }: Omit<Cut, 'pool' | 'isModelOutput'>,
) {
  const problem = mapsProblem(layer);
  if (problem !== undefined) throw unexplainable(network, layer, problem);
  let pool: PoolOp | undefined;
  targets.forEach((target, i) => {
    if (isMaps(target)) throw refuse('a feature vector', 'targets', `${target.name}: maps`);
    const before = targets[i - 1];
    if (before && (before === target || !ancestors(target).has(before))) {
      throw refuse(
        'targets in the order of the network',
        'targets',
        targets.map(({ name }) => name),
      );
    }
    const way = bridge(network, layer, target);
    if (typeof way === 'string') throw unexplainable(network, layer, way);
    if (i === 0) ({ pool } = way);
  });
  const last = targets.at(-1);
  const behind = last && ancestors(output, new Set([last]));
  if (!last || !behind?.has(last) || behind.has(network.input)) {
    const what = `an output that depends on the last target ${show(last?.name)} alone`;
    throw refuse(what, 'output', output.name);
  }
  return pool;
}

function unexplainable(network: Network, layer: NetValue, reason: string): PartlensError {
  const names = explainableLayers(network).map((one) => show(one.layer.name));
  const known = names.length === 0 ? 'none' : names.join(', ');
  return expected('a layer that can be explained', 'layer', layer.name, {
    op: 'loadPerformer',
    details: { layer: layer.name, reason },
    remedy: `${show(layer.name)} cannot: ${reason}. Layers that can be explained: ${known}.`,
  });
}

function refuse(what: string, name: string, received: unknown): PartlensError {
  return expected(what, name, received, { op: 'loadPerformer' });
}
