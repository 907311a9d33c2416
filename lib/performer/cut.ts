import { show } from '../errors.js';
import {
  ancestors,
  consumers,
  everySource,
  isMaps,
  type NetValue,
  type Network,
  type PoolOp,
} from './network.js';

/** What lies between a layer and a feature rebuilt from it. */
export interface Bridge {
  /** The max pooling between the layer and the first fully connected one. */
  pool: PoolOp | undefined;
}

/** A feature vector downstream of a layer that a decoder can rebuild. */
export interface Feature {
  value: NetValue;
  /** Ends in a ReLU (or a Clip from 0): never negative. */
  relu: boolean;
  /** Output of a fully connected layer; otherwise of a pooling over all cells. */
  dense: boolean;
}

/**
 * The way from `layer` to `target`, or the reason why the explainer cannot take it.
 *
 * The explainer's decoder is fully connected and reads the layer through the performer's max
 * pooling. So up to the first fully connected layer there may be one max pooling, rectifiers and
 * flattening, then average pooling: it is linear, the decoder's first layer takes it over.
 */
export function bridge(network: Network, layer: NetValue, target: NetValue): Bridge | string {
  const way = ancestors(target, new Set([layer]));
  if (!way.has(layer)) return `${show(target.name)} does not depend on it`;
  if (way.has(network.input)) return `${show(target.name)} also depends on what bypasses it`;
  let pool: PoolOp | undefined;
  let averaged = false;
  for (let at = layer; at !== target;) {
    const next: NetValue[] = consumers(network, at).filter((value) => way.has(value));
    const [only] = next;
    if (!only?.step || next.length !== 1) return `the network branches behind ${show(at.name)}`;
    const { op, node } = only.step;
    if (isDense(only)) return { pool };
    const again = op.kind === 'maxpool' && (pool !== undefined || averaged);
    if (again || !['relu', 'clip', 'flatten', 'maxpool', 'avgpool'].includes(op.kind)) {
      const place = `between it and the first fully connected layer`;
      return `${node.opType} ${show(node.name)} lies ${place}${again ? ', a second pooling' : ''}`;
    }
    if (op.kind === 'maxpool') pool = op;
    if (op.kind === 'avgpool') averaged = true;
    at = only;
  }
  return { pool };
}

/** True for a fully connected layer, also in the form of a convolution that leaves one cell. */
function isDense(value: NetValue): boolean {
  const kind = value.step?.op.kind;
  return kind === 'linear' || (kind === 'conv' && !isMaps(value));
}

/** True for values that are never negative because a rectifier made them. */
export function isRectified(value: NetValue): boolean {
  return everySource(value, ({ step }) => {
    const { op } = step ?? {};
    if (op?.kind === 'relu') return true;
    if (op?.kind === 'clip') return op.lo >= 0;
    const passes = op?.kind === 'flatten' || op?.kind === 'maxpool' || op?.kind === 'concat';
    return passes ? undefined : false;
  });
}

/** Feature vectors that can be rebuilt from `layer`, in the order of the network. */
export function features(network: Network, layer: NetValue): Feature[] {
  return network.values.flatMap((value) => {
    if (!isFeature(network, value) || value === layer) return [];
    if (typeof bridge(network, layer, value) === 'string') return [];
    return [{ value, relu: isRectified(value), dense: behindDense(value, layer) }];
  });
}

/** Vectors worth rebuilding: no probabilities, and of one layer only what its activation gives. */
function isFeature(network: Network, value: NetValue): boolean {
  const { op, inputs } = value.step ?? {};
  const source = op?.kind === 'flatten' ? inputs?.[0] : value;
  if (isMaps(value) || !source || isMaps(source) || source.step?.op.kind === 'softmax')
    return false;
  const readers = consumers(network, value).map(({ step }) => step?.op.kind ?? '');
  if (readers.includes('flatten')) return false;
  return isRectified(value) || !readers.some((kind) => ['relu', 'clip', 'affine'].includes(kind));
}

function behindDense(value: NetValue, layer: NetValue): boolean {
  return [...ancestors(value, new Set([layer]))].some((one) => one !== layer && isDense(one));
}
