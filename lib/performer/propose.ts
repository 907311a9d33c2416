import { show } from '../errors.js';
import { features, isRectified, type Feature } from './cut.js';
import { isMaps, type NetValue, type Network } from './network.js';

/** Smallest side of a map whose parts can be told apart (cells). */
export const MIN_SIDE = 4;

/** A layer and the features to rebuild from it, with the reason in one sentence. */
export interface Proposal {
  layer: NetValue;
  targets: NetValue[];
  reason: string;
}

/** Why the maps of `value` cannot be explained whatever is rebuilt, or undefined. */
export function mapsProblem(value: NetValue): string | undefined {
  const [, height = 1, width = 1] = value.shape;
  if (!isMaps(value)) return 'it has no maps of more than one cell';
  if (height !== width) return `its maps are not square: ${String(height)} x ${String(width)}`;
  if (height < MIN_SIDE)
    return `its maps have fewer than ${String(MIN_SIDE)} x ${String(MIN_SIDE)} cells`;
  return value.field ? undefined : 'its inputs lie on different grids';
}

/** Every layer that can be explained, with its features, in the order of the network. */
export function explainableLayers(network: Network): { layer: NetValue; found: Feature[] }[] {
  return network.values
    .filter((value) => mapsProblem(value) === undefined)
    .map((layer) => ({ layer, found: features(network, layer) }))
    .filter(({ found }) => found.length > 0);
}

/**
 * What to rebuild from `layer`: the rectified fully connected features; without any, the pooled
 * features, or else the network's first vector.
 */
export function proposeTargets(layer: NetValue, found: readonly Feature[]): Proposal | undefined {
  const rectified = found.filter(({ relu, dense }) => relu && dense).map(({ value }) => value);
  if (rectified.length > 0) {
    const names = rectified.map(({ name }) => show(name)).join(', ');
    const reason = `${names}: the rectified fully connected features after ${show(layer.name)}.`;
    return { layer, targets: rectified, reason };
  }
  const [first] = found;
  if (!first) return undefined;
  const what = first.dense ? 'its first feature vector' : 'its pooled features';
  const reason =
    `No rectified fully connected layer follows ${show(layer.name)}: ${what} ` +
    `${show(first.value.name)} are rebuilt; what follows stays the performer's own.`;
  return { layer, targets: [first.value], reason };
}

/** The default: the last rectified layer that can be explained, with what `proposeTargets` says. */
export function propose(network: Network): Proposal | undefined {
  const layers = explainableLayers(network);
  const rectified = layers.filter(
    ({ layer }) => isRectified(layer) && layer.step?.op.kind !== 'maxpool',
  );
  const best = rectified.at(-1) ?? layers.at(-1);
  return best && proposeTargets(best.layer, best.found);
}
