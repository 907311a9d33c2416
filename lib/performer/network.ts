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
  readonly dilation: YX;
}

export interface PoolOp extends Window {
  readonly kind: 'maxpool' | 'avgpool';
  readonly ceil: boolean;
  readonly countIncludePad: boolean;
}

export interface ConvOp extends Window {
  readonly kind: 'conv';
  /** (O, C / groups, R, S). */
  readonly weight: Float32Array;
  readonly weightShape: readonly [number, number, number, number];
  /** (O). */
  readonly bias: Float32Array | undefined;
  /** 1 to C. */
  readonly groups: number;
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

/** Functions of one number, in the terms of the engine's `activation`. */
export type ActivationKind = ActivationOp['name'];

export interface ActivationOp {
  readonly kind: 'activation';
  readonly name:
    | 'sigmoid'
    | 'tanh'
    | 'hard_sigmoid'
    | 'hard_swish'
    | 'silu'
    | 'gelu'
    | 'gelu_tanh'
    | 'leaky_relu'
    | 'elu'
    | 'celu'
    | 'selu'
    | 'softplus'
    | 'softsign'
    | 'mish'
    | 'exp'
    | 'log'
    | 'sqrt'
    | 'reciprocal'
    | 'abs'
    | 'neg'
    | 'erf'
    | 'square'
    | 'power';
  readonly alpha?: number;
  readonly beta?: number;
}

export type BinaryKind = 'add' | 'sub' | 'mul' | 'div' | 'max' | 'min' | 'pow';

/** Two values, of which either may have size 1 where the other has more. */
export interface BinaryOp {
  readonly kind: 'binary';
  readonly name: BinaryKind;
}

/** A value and numbers stored in the model, of size 1 or that of the value on each axis. */
export interface BinaryConstantOp {
  readonly kind: 'binary_constant';
  readonly name: BinaryKind;
  /** The stored numbers are the first operand. */
  readonly constantFirst: boolean;
  /** [C, H, W]. */
  readonly shape: readonly [number, number, number];
  readonly data: Float32Array;
}

export interface PadOp {
  readonly kind: 'pad';
  readonly pad: Sides;
  readonly mode: 'constant' | 'reflect' | 'edge' | 'wrap';
  readonly value: number;
}

/** `count` indices of an axis from `first` on, `step` apart (also negative). */
export interface Range {
  readonly first: number;
  readonly step: number;
  readonly count: number;
}

export interface SliceOp {
  readonly kind: 'slice';
  readonly channels: Range;
  readonly rows: Range;
  readonly columns: Range;
}

/** For each cell of one axis: y = (1 - share) x[low] + share x[high]. */
export interface ResizeTable {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly share: Float32Array;
}

export interface ResizeOp {
  readonly kind: 'resize';
  readonly rows: ResizeTable;
  readonly columns: ResizeTable;
}

/**
 * What a step computes, without the batch: every step treats the images of a batch alike. A step
 * over maps whose value has the shape [F] ends in a flattening; `gather`, `slice`, `binary` and `concat`
 * take rows as maps of one cell.
 */
export type StepOp =
  | ConvOp
  | LinearOp
  | AffineOp
  | PoolOp
  | ActivationOp
  | BinaryOp
  | BinaryConstantOp
  | PadOp
  | SliceOp
  | ResizeOp
  | { readonly kind: 'clip'; readonly lo: number; readonly hi: number }
  | { readonly kind: 'lrn'; size: number; alpha: number; beta: number; k: number }
  /** One slope, or one for each channel. */
  | { readonly kind: 'prelu'; readonly slope: Float32Array }
  /** Channel k is the input's channel index[k]. */
  | { readonly kind: 'gather'; readonly index: Int32Array }
  /** Each cell's channels (a row's features) to mean 0 and variance 1. */
  | { readonly kind: 'channel_norm'; readonly epsilon: number }
  /** Each image's groups of channels with all their cells to mean 0 and variance 1. */
  | { readonly kind: 'group_norm'; readonly groups: number; readonly epsilon: number }
  | BareOp<'relu' | 'add' | 'concat' | 'flatten' | 'softmax'>
  /** Rows as maps of one cell. */
  | BareOp<'as_maps'>
  /** What only onnxruntime computes. */
  | BareOp<'foreign'>;

/** Ops that need no more than their inputs. */
type BareOp<K extends string> = K extends string ? { readonly kind: K } : never;

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
  /**
   * How the tensor of that name lies in the file: its axes as the value's own, 0 the images, 1 the
   * channels or features, 2 rows, 3 columns; [0, 1, 2, 3] is channels first, [0, 2, 3, 1] channels
   * last. Undefined where the tensor joins, splits or leaves out axes, and for values that the file
   * does not name.
   */
  readonly axes: readonly number[] | undefined;
}

/** One layer, after constants are folded and what does nothing at inference is dropped. */
export interface Step {
  readonly op: StepOp;
  readonly inputs: readonly NetValue[];
  readonly node: NodeRef;
}

/**
 * A factor of one axis of a value: the index along that axis is the sum of `stride` times the index of
 * each of its factors. Axis 0 is the images, 1 channels or features, 2 rows, 3 columns.
 */
export interface Atom {
  readonly axis: number;
  readonly size: number;
  readonly stride: number;
}

/**
 * What a tensor of the file is: a value, and for each axis of the tensor the factors of the value's
 * axes that make it, the outermost first. A Reshape regroups factors, a Transpose permutes axes, and
 * neither costs anything; factors of size 1 are left out, so an axis of size 1 is an empty list.
 */
export interface View {
  readonly value: NetValue;
  readonly axes: readonly (readonly Atom[])[];
}

/** A feed-forward network read from ONNX. */
export interface Network {
  readonly opset: number;
  readonly input: NetValue;
  /** True where the file wants whole numbers from 0 to 255 as its input. */
  readonly bytes: boolean;
  /** Computed values in topological order. */
  readonly values: readonly NetValue[];
  /**
   * Every value name of the file that is known here, also those of dropped nodes (reshaped, transposed:
   * the value as it lies here), and node names.
   */
  readonly names: ReadonlyMap<string, NetValue>;
  /** What the tensor of each name in `names` but those of nodes is made of. */
  readonly views: ReadonlyMap<string, View>;
  /** Graph outputs that were asked for. */
  readonly outputs: readonly NetValue[];
  /** sha256 (hex) of the model's bytes with its external data. */
  readonly fingerprint: string;
  readonly path: string;
  /** Where onnxruntime computes it. */
  readonly foreign: ForeignPart | undefined;
}

/** What onnxruntime has to say of a network, and to do for it. */
export interface ForeignPart {
  /** Sizes of the file's tensors with the images, by name. */
  readonly sizes: ReadonlyMap<string, readonly number[]>;
  /** Images in those sizes. */
  readonly batch: number;
  /** Nodes that the engine has no op for. */
  readonly nodes: readonly NodeRef[];
}

/** Maps [C, H, W] with more than one cell; (C, 1, 1) counts as a feature vector. */
export function isMaps(value: NetValue): boolean {
  const [, height = 1, width = 1] = value.shape;
  return value.shape.length === 3 && (height > 1 || width > 1);
}

/** Number of features or of map elements of one image. */
export function elements(value: NetValue): number {
  return value.shape.reduce((product, size) => product * size, 1);
}

/** True where no element can be negative because a rectifier made it. */
export function isNonNegative(value: NetValue): boolean {
  const passes = ['flatten', 'as_maps', 'maxpool', 'concat', 'gather', 'slice', 'resize'];
  return everySource(value, ({ step }) => {
    if (!step) return false;
    const { op } = step;
    if (op.kind === 'relu') return true;
    if (op.kind === 'clip') return op.lo >= 0;
    if (op.kind === 'activation') return op.name === 'sigmoid' || op.name === 'hard_sigmoid';
    return passes.includes(op.kind) ? undefined : false;
  });
}

/**
 * True where `decide` is true of a value, or undefined and so on for all that it is computed from. Each value
 * is seen once, without recursion: values joined with themselves 50 times have 2^50 ways to their source.
 */
export function everySource(
  value: NetValue,
  decide: (value: NetValue) => boolean | undefined,
): boolean {
  const seen = new Set<NetValue>();
  const open = [value];
  for (let next = open.pop(); next; next = open.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    const decided = decide(next);
    if (decided === false) return false;
    if (decided === undefined) open.push(...(next.step?.inputs ?? []));
  }
  return true;
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
