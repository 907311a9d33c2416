import { isRectified } from './cut.js';
import { elements, isMaps, type Field, type NetValue, type PoolOp } from './network.js';
import type { Site } from './tail.js';

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
  /** Cells of the maps. */
  height: number;
  width: number;
  /** Never negative: behind a ReLU (or a Clip from 0). */
  relu: boolean;
  geometry: Geometry;
}

/** The pooling of a layer, in the terms of `maxpool2d`. */
export type PoolInfo = Pick<PoolOp, 'kernel' | 'stride' | 'pad' | 'ceil'>;

/** The maps behind a layer that its later layers read. */
export interface SiteInfo extends Pick<
  LayerInfo,
  'name' | 'channels' | 'height' | 'width' | 'relu'
> {
  /** The max pooling between the layer and them; undefined where they are the layer's own. */
  pool: PoolInfo | undefined;
}

/** Features of the performer for one image: a vector, or maps. */
export interface FeatureInfo {
  name: string;
  /** (F), or (C, H, W) for maps. */
  shape: readonly number[];
  /** Number of values. */
  size: number;
  /** Never negative: behind a ReLU, so the decoder's layer ends in one too. */
  relu: boolean;
}

/** Describes maps. */
export function layerInfo(value: NetValue): LayerInfo {
  const [channels = 1, height = 1, width = 1] = value.shape;
  const { name = '', opType = 'input' } = value.step?.node ?? {};
  return {
    name: value.name,
    node: name,
    opType,
    channels,
    height,
    width,
    relu: isRectified(value),
    geometry: geometryOf(value),
  };
}

/** Describes what is rebuilt. */
export function siteInfo({ value, pool }: Site): SiteInfo {
  const { name, channels, height, width, relu } = layerInfo(value);
  return { name, channels, height, width, relu, pool: poolInfo(pool) };
}

/** Window and rounding of a pooling. */
export function poolInfo(pool: PoolOp | undefined): PoolInfo | undefined {
  if (!pool) return undefined;
  const { kernel, stride, pad, ceil } = pool;
  return { kernel, stride, pad, ceil };
}

/** Describes features; (C, 1, 1) is a vector of C. */
export function featureInfo(value: NetValue): FeatureInfo {
  const size = elements(value);
  const shape = isMaps(value) ? value.shape : [size];
  return { name: value.name, shape, size, relu: isRectified(value) };
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
