import {
  isNonNegative,
  type AffineOp,
  type ConvOp,
  type LinearOp,
  type NetValue,
  type Network,
  type PadOp,
  type Sides,
  type StepOp,
} from './network.js';

/** A step after fusion: what it computes from which values, and whether it ends in a ReLU. */
export interface Fused {
  op: StepOp;
  inputs: readonly NetValue[];
  relu: boolean;
}

/**
 * Decides which steps are computed together: batch normalization joins the layer before it, ReLUs are
 * the last act of a layer, and borders of zeros become the padding of the windows that read them.
 */
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
    // In the order of the network, so that no chain of any length is followed by recursion.
    for (const value of network.values) this.of(value);
  }

  of(value: NetValue): Fused | undefined {
    const known = this.#fused.get(value);
    if (known || !value.step) return known;
    const { op, inputs } = value.step;
    const [x] = inputs;
    const joins =
      (op.kind === 'relu' || op.kind === 'affine') && x !== undefined && this.#hidden(x);
    const before = joins ? this.of(x) : undefined;
    const together = before && join(before, op);
    const fused = together ?? this.#bordered(op, x) ?? { op, inputs, relu: false };
    this.#fused.set(value, fused);
    return fused;
  }

  /** A window over maps with a border as one over the maps. */
  #bordered(op: StepOp, x: NetValue | undefined): Fused | undefined {
    const border = x?.step?.op;
    const [source] = x?.step?.inputs ?? [];
    if (border?.kind !== 'pad' || !x || !source || this.#keep.has(x)) return undefined;
    const joined = withBorder(op, border, source);
    return joined && { op: joined, inputs: [source], relu: false };
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
  const { kind } = before.op;
  if (op.kind === 'relu') {
    return kind === 'conv' || kind === 'linear' || kind === 'affine'
      ? { ...before, relu: true }
      : undefined;
  }
  if (kind !== 'conv' && kind !== 'linear') return undefined;
  return op.kind === 'affine' ? { ...before, op: fold(before.op, op) } : undefined;
}

/** The window with the border as its own padding, where that is the same. */
function withBorder(op: StepOp, border: PadOp, source: NetValue): StepOp | undefined {
  if (border.mode !== 'constant') return undefined;
  if (op.kind !== 'conv' && op.kind !== 'avgpool' && op.kind !== 'maxpool') return undefined;
  const pad: Sides = [
    op.pad[0] + border.pad[0],
    op.pad[1] + border.pad[1],
    op.pad[2] + border.pad[2],
    op.pad[3] + border.pad[3],
  ];
  if (op.kind === 'conv') return border.value === 0 ? { ...op, pad } : undefined;
  const [tall, wide] = op.kernel;
  const inside = Math.max(pad[0], pad[2]) < tall && Math.max(pad[1], pad[3]) < wide;
  if (op.ceil || !inside || op.dilation.some((dilation) => dilation !== 1)) return undefined;
  if (op.kind === 'avgpool') {
    const counted = op.countIncludePad || op.pad.every((size) => size === 0);
    return border.value === 0 && counted ? { ...op, pad, countIncludePad: true } : undefined;
  }
  // Every window sees a cell, so a border that is no larger than any cell changes no maximum.
  const least = border.value <= -3.4e38 || (border.value === 0 && isNonNegative(source));
  return least ? { ...op, pad } : undefined;
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
