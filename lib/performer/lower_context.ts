import type { Shape } from '../engine/tensor.js';
import { nodeError } from './onnx_error.js';
import type { NetValue, StepOp } from './network.js';
import type { OnnxNode } from './onnx_read.js';
import type { Constant } from './onnx_tensor.js';

type FloatConstant = Constant & { kind: 'float' };

/** What a lowering function sees of its node. */
export interface NodeContext {
  readonly node: OnnxNode;
  /** The size that stands for the batch in inferred shapes. */
  readonly batch: number;
  readonly inputCount: number;
  /** Input `index` if it is computed from the image. */
  readonly value: (index: number) => NetValue | undefined;
  /** Input `index` if it is there and known at load. */
  readonly constant: (index: number) => Constant | undefined;
}

/** A new value: what it computes, from what, and its shape for one image. */
export interface Draft {
  op: StepOp;
  inputs: NetValue[];
  shape: Shape;
  field: NetValue['field'];
}

/** Makes a new value, or returns the one that the node passes on. */
export type Lower = (context: NodeContext) => NetValue | Draft;

/** Input `index`, which must be computed from the image. */
export function valueInput({ node, value }: NodeContext, index: number): NetValue {
  const found = value(index);
  if (found) return found;
  throw nodeError(node, `input ${String(index)} computed from the image`, 'a constant or nothing');
}

/** Maps (N, C, H, W) as input `index`, with their sizes. */
export function mapsInput(
  context: NodeContext,
  index: number,
): { x: NetValue; C: number; H: number; W: number } {
  const x = valueInput(context, index);
  const [C, H, W] = x.shape;
  if (C !== undefined && H !== undefined && W !== undefined) return { x, C, H, W };
  throw nodeError(context.node, 'maps (N, C, H, W)', ['N', ...x.shape]);
}

/** Float constant as input `index`, undefined when it is absent. */
export function floatsInput(context: NodeContext, index: number): FloatConstant | undefined {
  const { node } = context;
  if (context.value(index)) {
    throw nodeError(node, `input ${String(index)} stored in the model`, 'a computed value');
  }
  const found = context.constant(index);
  if (!found || found.kind === 'float') return found;
  throw nodeError(node, `floats for input ${String(index)}`, 'integers');
}

/** Float constant as input `index`, which must be there. */
export function weightInput(context: NodeContext, index: number): FloatConstant {
  const found = floatsInput(context, index);
  if (found) return found;
  throw nodeError(context.node, `input ${String(index)} stored in the model`, 'nothing');
}

/** A vector of `size` floats as input `index`. */
export function vectorInput(context: NodeContext, index: number, size: number): Float32Array {
  const { dims, data } = weightInput(context, index);
  if (dims.length === 1 && dims[0] === size) return data;
  throw nodeError(context.node, `input ${String(index)} of shape (${String(size)})`, dims);
}
