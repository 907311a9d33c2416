import { show } from '../errors.js';
import { features, isRectified, type Feature } from './cut.js';
import { isCuttable } from './foreign.js';
import { isMaps, type NetValue, type Network } from './network.js';
import { bypassOf, joints, siteOf, sources } from './tail.js';

/** Smallest side of a map whose parts can be told apart (cells). */
export const MIN_SIDE = 4;
/** Maps of a middle layer: the default choice has at least so many cells a side, where there are such. */
const MIDDLE_SIDE = 10;
/** Most targets of a default choice. */
const MOST_TARGETS = 3;

/** A layer and the features to rebuild from it, with the reason in one sentence. */
export interface Proposal {
  layer: NetValue;
  targets: NetValue[];
  reason: string;
}

/** Why the maps of `value` cannot be explained whatever is rebuilt, or undefined. */
export function mapsProblem(network: Network, value: NetValue): string | undefined {
  const [, height = 1, width = 1] = value.shape;
  if (value.axes === undefined || !isCuttable(network, value))
    return 'no value of the file holds it';
  if (!isMaps(value)) return 'it has no maps of more than one cell';
  if (Math.min(height, width) < MIN_SIDE) {
    return `its maps have fewer than ${String(MIN_SIDE)} x ${String(MIN_SIDE)} cells`;
  }
  return value.field ? undefined : 'its inputs lie on different grids';
}

/** Every layer that the decoder `own` can explain, in the order of the network. */
export function explainableLayers(network: Network, output: NetValue): NetValue[] {
  const wanted = sources(network, [output]);
  return network.values.filter(
    (value) => value !== output && wanted.has(value) && mapsProblem(network, value) === undefined,
  );
}

/**
 * What to rebuild from `layer` beside its own maps: the end of the next stage (the next smaller maps),
 * the first feature vector behind its rectifier, and the logits; of values that everything passes
 * through, at most three. Empty where the layer is the last.
 */
export function proposeTargets(network: Network, layer: NetValue, output: NetValue): NetValue[] {
  const { value: site } = siteOf(network, layer);
  const all = joints(network, site, output);
  const way = network.foreign ? all.filter((value) => isCuttable(network, value)) : all;
  const logits = way.includes(logitsOf(output)) ? logitsOf(output) : output;
  const stage = endOfNextStage(way, site);
  const vector = firstVector(way);
  const found = [stage, vector, isMaps(logits) ? undefined : logits];
  const chosen = new Set(found.flatMap((value) => (value && value !== site ? [value] : [])));
  return [...chosen].sort((a, b) => way.indexOf(a) - way.indexOf(b)).slice(-MOST_TARGETS);
}

/** The output, or what its softmax reads. */
export function logitsOf(output: NetValue): NetValue {
  const [before] = output.step?.inputs ?? [];
  return output.step?.op.kind === 'softmax' && before ? before : output;
}

/** The last of the maps of the size that comes next. */
function endOfNextStage(way: readonly NetValue[], site: NetValue): NetValue | undefined {
  const cells = ({ shape }: NetValue): number => (shape[1] ?? 1) * (shape[2] ?? 1);
  const next = way.find((value) => isMaps(value) && cells(value) < cells(site));
  if (!next) return undefined;
  return way.findLast((value) => isMaps(value) && cells(value) === cells(next));
}

/** The first vector that is no mere flattening, behind the rectifier that alone reads it. */
function firstVector(way: readonly NetValue[]): NetValue | undefined {
  const at = way.findIndex((value) => {
    const { op, inputs = [] } = value.step ?? {};
    return !isMaps(value) && !(op?.kind === 'flatten' && inputs.some(isMaps));
  });
  let found = way[at];
  for (const next of way.slice(at + 1)) {
    const { op, inputs = [] } = next.step ?? {};
    const goesOn = op?.kind === 'flatten' || op?.kind === 'relu' || op?.kind === 'affine';
    if (!goesOn || !found || !inputs.includes(found)) break;
    found = next;
  }
  return found;
}

/**
 * The default: a middle layer near the end. Of the layers in the later half of the network with at least
 * 10 cells a side (a fourth of a small image), or else of all, the last that nothing bypasses and that is
 * rectified, or else the last that nothing bypasses.
 */
export function propose(network: Network, output: NetValue): Proposal | undefined {
  const layers = explainableLayers(network, output).filter(
    (layer) => !isPooled(layer) && bypassOf(network, layer, [output]).length === 0,
  );
  const [, height = 1, width = 1] = network.input.shape;
  const side = Math.min(MIDDLE_SIDE, Math.floor(Math.min(height, width) / 4));
  const late = laterHalf(network, output);
  const middle = layers.filter(
    (layer) => late.has(layer) && Math.min(...layer.shape.slice(1)) >= side,
  );
  const layer =
    middle.findLast(isRectified) ?? middle.at(-1) ?? layers.findLast(isRectified) ?? layers.at(-1);
  if (!layer) return undefined;
  const targets = proposeTargets(network, layer, output);
  return { layer, targets, reason: reasonOf(layer, targets) };
}

/** What follows the first half of the layers with weights. */
function laterHalf(network: Network, output: NetValue): Set<NetValue> {
  const used = [...sources(network, [output])];
  const weighted = used.filter(({ step }) => step && 'weight' in step.op);
  const middle = weighted[Math.floor((weighted.length - 1) / 2)];
  return new Set(used.slice(middle ? used.indexOf(middle) : 0));
}

function isPooled({ step }: NetValue): boolean {
  return step?.op.kind === 'maxpool' || step?.op.kind === 'avgpool';
}

function reasonOf(layer: NetValue, targets: readonly NetValue[]): string {
  const [, height = 1, width = 1] = layer.shape;
  const what = isRectified(layer) ? 'rectified maps' : 'maps';
  const beside = targets.map(({ name }) => show(name)).join(', ');
  return (
    `${show(layer.name)}: the last ${what} of a middle layer (${String(height)} x ${String(width)} cells) ` +
    'that all later layers read' +
    (beside === '' ? '.' : `; beside its own maps ${beside} are rebuilt.`)
  );
}

/**
 * What the published decoder rebuilds from a layer: the rectified fully connected features; without
 * any, the pooled features, or else the network's first vector.
 */
export function proposeLearned(found: readonly Feature[]): NetValue[] {
  const rectified = found.filter(({ relu, dense }) => relu && dense).map(({ value }) => value);
  return rectified.length > 0 ? rectified : found.slice(0, 1).map(({ value }) => value);
}

/** The last rectified layer with features that the published decoder can rebuild. */
export function proposeLearnedLayer(network: Network): NetValue | undefined {
  const layers = network.values.filter(
    (value) => mapsProblem(network, value) === undefined && features(network, value).length > 0,
  );
  return layers.findLast((layer) => isRectified(layer) && !isPooled(layer)) ?? layers.at(-1);
}
