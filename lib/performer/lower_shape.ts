import { sameShape, sizeOf } from '../engine/tensor.js';
import { intAttribute } from './attributes.js';
import { axesOf, axisOf, reshapeDims, squeezeDims, unsqueezeDims } from './fold.js';
import { valueInput, type Draft, type Lower, type NodeContext } from './lower_context.js';
import type { NetValue } from './network.js';
import { nodeError } from './onnx_error.js';
import { isFloatType, type Constant } from './onnx_tensor.js';

/** Nodes that change the shape only, or nothing. */
export const LOWER_SHAPE: Readonly<Record<string, Lower>> = {
  Identity: (context) => valueInput(context, 0),
  Dropout: lowerDropout,
  Cast: lowerCast,
  Flatten(context) {
    const { x, dims } = whole(context);
    const axis = axisOf(context.node, intAttribute(context.node, 'axis', 1), dims.length + 1);
    return reshaped(context, x, [sizeOf(dims.slice(0, axis)), sizeOf(dims.slice(axis))]);
  },
  Reshape(context) {
    const { x, dims } = whole(context);
    return reshaped(context, x, reshapeDims(context.node, dims, list(context, 'a shape')));
  },
  Squeeze(context) {
    const { x, dims } = whole(context);
    const axes = axesOf(context.node, context.constant(1));
    return reshaped(context, x, squeezeDims(context.node, dims, axes));
  },
  Unsqueeze(context) {
    const { x, dims } = whole(context);
    const axes = axesOf(context.node, context.constant(1));
    return reshaped(context, x, unsqueezeDims(context.node, dims, axes));
  },
};

/** The first input with its sizes, the batch among them. */
function whole(context: NodeContext): { x: NetValue; dims: number[] } {
  const x = valueInput(context, 0);
  return { x, dims: [context.batch, ...x.shape] };
}

function list(context: NodeContext, what: string): Constant {
  const found = context.constant(1);
  if (found) return found;
  throw nodeError(context.node, `${what} known at load`, 'one that depends on the image');
}

/** `x` under sizes `dims`: the same value, its flattening, or the maps that it was flattened from. */
function reshaped(
  { node, batch }: NodeContext,
  x: NetValue,
  dims: readonly number[],
): NetValue | Draft {
  const [images, ...shape] = dims;
  if (images === batch) {
    if (sameShape(shape, x.shape)) return x;
    const source = x.step?.op.kind === 'flatten' ? x.step.inputs[0] : undefined;
    if (source && sameShape(shape, source.shape)) return source;
    if (shape.length === 1)
      return { op: { kind: 'flatten' }, inputs: [x], shape, field: undefined };
  }
  const from = `(${['N', ...x.shape].join(', ')})`;
  throw nodeError(node, `a flattening (N, ${String(sizeOf(x.shape))}) of ${from}`, dims);
}

function lowerDropout(context: NodeContext): NetValue {
  const training = context.constant(2)?.data[0] ?? 0;
  if (training !== 0) throw nodeError(context.node, 'training_mode = false', true);
  return valueInput(context, 0);
}

function lowerCast(context: NodeContext): NetValue {
  const to = intAttribute(context.node, 'to', 0);
  if (isFloatType(to)) return valueInput(context, 0);
  throw nodeError(context.node, 'a cast to floats', `type ${String(to)}`);
}
