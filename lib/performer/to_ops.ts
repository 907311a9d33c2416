import type { Graph, Value } from '../engine/graph.js';
import {
  add,
  avgpool2d,
  clip,
  concat,
  conv2d,
  flatten,
  linear,
  lrn,
  maxpool2d,
  relu,
  softmax,
} from '../engine/ops/index.js';
import type { Shape } from '../engine/tensor.js';
import type { AffineOp, ConvOp, LinearOp, NetValue, Network, StepOp } from './network.js';
import { nodeError } from './onnx_error.js';

/**
 * Most elements of the diagonal weights of batch normalizations that have no convolution or fully
 * connected layer to join: they grow with the square of the channels.
 */
const MAX_DIAGONAL = 2 ** 27;

/** A step after fusion: what it computes from which values, and whether it ends in a ReLU. */
interface Fused {
  op: StepOp;
  inputs: readonly NetValue[];
  relu: boolean;
}

/** Decides which steps are computed together. */
export class Fusion {
  readonly #keep: ReadonlySet<NetValue>;
  readonly #readers = new Map<NetValue, number>();
  readonly #fused = new Map<NetValue, Fused>();

  constructor(network: Network, keep: ReadonlySet<NetValue>) {
    this.#keep = keep;
    for (const { step } of network.values) {
      for (const input of step?.inputs ?? []) {
        this.#readers.set(input, (this.#readers.get(input) ?? 0) + 1);
      }
    }
  }

  of(value: NetValue): Fused | undefined {
    const known = this.#fused.get(value);
    if (known || !value.step) return known;
    const { op, inputs } = value.step;
    const [x] = inputs;
    const joins =
      (op.kind === 'relu' || op.kind === 'affine') && x !== undefined && this.#hidden(x);
    const before = joins ? this.of(x) : undefined;
    const fused = (before && join(before, op)) ?? { op, inputs, relu: false };
    this.#fused.set(value, fused);
    return fused;
  }

  #hidden(value: NetValue): boolean {
    return !this.#keep.has(value) && this.#readers.get(value) === 1;
  }
}

/** One layer for both, or undefined when they stay apart. */
function join(before: Fused, op: StepOp): Fused | undefined {
  if (before.relu) return undefined;
  if (op.kind === 'affine' && before.op.kind === 'affine') {
    return { ...before, op: compose(before.op, op) };
  }
  if (before.op.kind !== 'conv' && before.op.kind !== 'linear') return undefined;
  if (op.kind === 'relu') return { ...before, relu: true };
  return op.kind === 'affine' ? { ...before, op: fold(before.op, op) } : undefined;
}

/** Both scales and shifts as one. */
function compose(first: AffineOp, second: AffineOp): AffineOp {
  const { scale, shift } = second;
  return {
    kind: 'affine',
    scale: first.scale.map((factor, c) => factor * (scale[c] ?? 1)),
    shift: first.shift.map((b, c) => b * (scale[c] ?? 1) + (shift[c] ?? 0)),
  };
}

/** The layer with `affine` worked into its weights: w' = scale w, b' = scale b + shift. */
function fold(layer: ConvOp | LinearOp, { scale, shift }: AffineOp): ConvOp | LinearOp {
  const { weight, bias } = layer;
  const each = weight.length / scale.length;
  return {
    ...layer,
    weight: weight.map((w, i) => w * (scale[Math.floor(i / each)] ?? 1)),
    bias: shift.map((b, o) => b + (scale[o] ?? 1) * (bias?.[o] ?? 0)),
  };
}

/** Appends steps of a network to a graph. */
export class GraphBuilder {
  readonly built = new Map<NetValue, Value>();
  #diagonal = 0;

  constructor(
    readonly graph: Graph,
    readonly network: Network,
    readonly fusion: Fusion,
    /** Values of the weights by name, row-major: filled while steps are appended. */
    readonly weights: Record<string, Float32Array>,
  ) {}

  /** Appends what `outputs` need beyond the values that are `built` already; returns them in order. */
  append(outputs: readonly NetValue[]): Value[] {
    const needed = new Set<NetValue>();
    const open = [...outputs];
    for (let value = open.pop(); value; value = open.pop()) {
      if (needed.has(value) || this.built.has(value)) continue;
      needed.add(value);
      open.push(...(this.fusion.of(value)?.inputs ?? []));
    }
    for (const value of this.network.values) if (needed.has(value)) this.#build(value);
    return outputs.map((value) => this.#get(value));
  }

  #build(value: NetValue): void {
    const fused = this.fusion.of(value);
    if (!fused) throw missing(value);
    const inputs = fused.inputs.map((input) => this.#get(input));
    const result = this.#emit(value, fused, inputs);
    this.built.set(value, value.shape.length === 1 ? flatten(result) : result);
  }

  #emit(value: NetValue, { op, relu: rectified }: Fused, inputs: readonly Value[]): Value {
    const [x, ...more] = inputs;
    if (!x) throw missing(value);
    switch (op.kind) {
      case 'conv':
        return this.#conv(value, x, op, rectified);
      case 'linear':
        return this.#linear(value, x, op, rectified);
      case 'affine':
        return this.#affine(value, x, op);
      case 'relu':
        return relu(x);
      case 'clip':
        return clip(x, op);
      case 'maxpool':
        return maxpool2d(x, op);
      case 'avgpool':
        return avgpool2d(x, op);
      case 'add':
        return more.reduce(add, x);
      case 'concat':
        return more.reduce(concat, x);
      case 'flatten':
        return flatten(x);
      case 'lrn':
        return lrn(x, op);
      case 'softmax':
        return softmax(flatten(x));
    }
  }

  #conv(value: NetValue, x: Value, op: ConvOp, rectified: boolean): Value {
    const { weight, weightShape, bias, stride, pad } = op;
    const w = this.#parameter(`${value.name}.weight`, weightShape, weight, 'conv_weight');
    const b = bias && this.#parameter(`${value.name}.bias`, [bias.length], bias, 'rows');
    return conv2d(x, w, b, { stride, pad, relu: rectified });
  }

  #linear(value: NetValue, x: Value, op: LinearOp, rectified: boolean): Value {
    const { weight, outSize, inSize, bias } = op;
    const name = `${value.name}.weight`;
    const w = this.#parameter(name, [outSize, inSize], weight, 'linear_weight', x.chw);
    const b = bias && this.#parameter(`${value.name}.bias`, [bias.length], bias, 'rows');
    return linear(x, w, b, { relu: rectified });
  }

  /** Scale and shift on their own: a 1 x 1 convolution (or linear layer) with a diagonal weight. */
  #affine(value: NetValue, x: Value, { scale, shift }: AffineOp): Value {
    const C = scale.length;
    this.#diagonal += C * C;
    if (this.#diagonal > MAX_DIAGONAL && value.step) {
      const what = 'a normalization behind Conv or Gemm, or fewer channels';
      throw nodeError(value.step.node, what, `${String(C)} channels behind another op`);
    }
    const weight = new Float32Array(C * C);
    scale.forEach((factor, c) => (weight[c * C + c] = factor));
    if (x.layout === 'rows') {
      const dense = { kind: 'linear', weight, outSize: C, inSize: C, bias: shift } as const;
      return this.#linear(value, x, dense, false);
    }
    const window = { kernel: [1, 1], stride: [1, 1], pad: [0, 0, 0, 0] } as const;
    const conv = {
      kind: 'conv',
      weight,
      weightShape: [C, C, 1, 1],
      bias: shift,
      ...window,
    } as const;
    return this.#conv(value, x, conv, false);
  }

  #parameter(
    name: string,
    shape: Shape,
    data: Float32Array,
    layout: Value['layout'],
    chw?: Value['chw'],
  ): Value {
    const known = this.graph.leaf(`performer/${name}`);
    if (known) return known;
    this.weights[`performer/${name}`] = data;
    return this.graph.frozen(`performer/${name}`, shape, { layout, chw });
  }

  #get(value: NetValue): Value {
    const found = this.built.get(value);
    if (found) return found;
    throw missing(value);
  }
}

function missing(value: NetValue): Error {
  const node = value.step?.node ?? { name: value.name, opType: 'input', opset: 0 };
  return nodeError(node, 'a value downstream of where the program starts', value.name);
}
