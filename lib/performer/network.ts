import type { Shape } from '../engine/tensor.js';
import type { NodeRef } from './onnx_error.js';

/** [vertical, horizontal]. */
export type YX = readonly [number, number];
/** [top, left, bottom, right]. */
export type Sides = readonly [number, number, number, number];

/** A sliding window in the terms of `lib/engine/ops`. */
export interface Window {
  readonly kernel: YX;
  readonly stride: YX;
  readonly pad: Sides;
}

export interface PoolOp extends Window {
  readonly kind: 'maxpool' | 'avgpool';
  readonly ceil: boolean;
  readonly countIncludePad: boolean;
}

export interface ConvOp extends Window {
  readonly kind: 'conv';
  /** (O, C, R, S). */
  readonly weight: Float32Array;
  readonly weightShape: readonly [number, number, number, number];
  /** (O). */
  readonly bias: Float32Array | undefined;
}

export interface LinearOp {
  readonly kind: 'linear';
  /** (out, in). */
  readonly weight: Float32Array;
  readonly outSize: number;
  readonly inSize: number;
  readonly bias: Float32Array | undefined;
}

/** y = scale * x + shift, one pair for each channel of maps or feature of rows. */
export interface AffineOp {
  readonly kind: 'affine';
  readonly scale: Float32Array;
  readonly shift: Float32Array;
}

/**
 * What a step computes, without the batch: every step treats the images of a batch alike. A step
 * over maps whose value has the shape [F] ends in a flattening.
 */
export type StepOp =
  | ConvOp
  | LinearOp
  | AffineOp
  | PoolOp
  | { readonly kind: 'clip'; readonly lo: number; readonly hi: number }
  | { readonly kind: 'lrn'; size: number; alpha: number; beta: number; k: number }
  | { readonly kind: 'relu' | 'add' | 'concat' | 'flatten' | 'softmax' };

/**
 * Which pixels of the network's input the cells of a map see, along one axis: cell i sees the pixels
 * from first + i * stride to last + i * stride (0-based, padding included).
 */
export interface Field {
  readonly stride: number;
  readonly first: number;
  readonly last: number;
}

/** One tensor of the network, for one image. */
export interface NetValue {
  readonly name: string;
  /** [C, H, W] for maps, [F] for rows. */
  readonly shape: Shape;
  /** How it is computed; undefined for the input. */
  readonly step: Step | undefined;
  /** Receptive field [vertical, horizontal]; undefined for rows. */
  readonly field: readonly [Field, Field] | undefined;
}

/** One layer, after constants are folded and what does nothing at inference is dropped. */
export interface Step {
  readonly op: StepOp;
  readonly inputs: readonly NetValue[];
  readonly node: NodeRef;
}

/** A feed-forward network read from ONNX. */
export interface Network {
  readonly opset: number;
  readonly input: NetValue;
  /** Computed values in topological order. */
  readonly values: readonly NetValue[];
  /** Every value name of the file that is known here, also those of dropped nodes, and node names. */
  readonly names: ReadonlyMap<string, NetValue>;
  /** Graph outputs that were asked for. */
  readonly outputs: readonly NetValue[];
  /** sha256 (hex) of the model's bytes with its external data. */
  readonly fingerprint: string;
  readonly path: string;
}

/** Maps [C, H, W] with more than one cell; (C, 1, 1) counts as a feature vector. */
export function isMaps(value: NetValue): boolean {
  return value.shape.length === 3 && value.shape.slice(1).some((size) => size > 1);
}

/** Number of features or of map elements of one image. */
export function elements(value: NetValue): number {
  return value.shape.reduce((product, size) => product * size, 1);
}

/** The values that read `value` directly. */
export function consumers(network: Network, value: NetValue): NetValue[] {
  return network.values.filter(({ step }) => step?.inputs.includes(value));
}

/** `value` and everything it is computed from, not looking behind the values in `stops`. */
export function ancestors(
  value: NetValue,
  stops: ReadonlySet<NetValue> = new Set(),
): Set<NetValue> {
  const seen = new Set<NetValue>();
  const open = [value];
  for (let next = open.pop(); next; next = open.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    if (!stops.has(next)) open.push(...(next.step?.inputs ?? []));
  }
  return seen;
}
