import { isRectified } from './cut.js';
import { elements, type Field, type NetValue } from './network.js';

/**
 * Where the cells of a map look, [vertical, horizontal], in pixels of the network's input (0-based,
 * not of the photograph): cell i is centred at firstCentre + i * stride and sees `size` pixels.
 */
export interface Geometry {
  stride: readonly [number, number];
  firstCentre: readonly [number, number];
  size: readonly [number, number];
}

/** A layer whose maps can be explained. */
export interface LayerInfo {
  /** Name of the value in the ONNX graph. */
  name: string;
  /** Name and op type of the node that computes it. */
  node: string;
  opType: string;
  channels: number;
  /** Side n of the maps, cells. */
  size: number;
  /** Never negative: behind a ReLU (or a Clip from 0). */
  relu: boolean;
  geometry: Geometry;
}

/** A feature vector of the performer. */
export interface FeatureInfo {
  name: string;
  /** Number of features. */
  size: number;
  /** It ends in a ReLU, so the decoder's layer does too. */
  relu: boolean;
}

/** Describes maps. */
export function layerInfo(value: NetValue): LayerInfo {
  const [channels = 1, size = 1] = value.shape;
  const { name = '', opType = 'input' } = value.step?.node ?? {};
  return {
    name: value.name,
    node: name,
    opType,
    channels,
    size,
    relu: isRectified(value),
    geometry: geometryOf(value),
  };
}

/** Describes a feature vector. */
export function featureInfo(value: NetValue): FeatureInfo {
  return { name: value.name, size: elements(value), relu: isRectified(value) };
}

function geometryOf({ field }: NetValue): Geometry {
  const none: Field = { stride: NaN, first: NaN, last: NaN };
  const [y, x] = field ?? [none, none];
  return {
    stride: [y.stride, x.stride],
    firstCentre: [(y.first + y.last) / 2, (x.first + x.last) / 2],
    size: [y.last - y.first + 1, x.last - x.first + 1],
  };
}
