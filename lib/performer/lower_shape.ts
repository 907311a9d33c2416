import { sizeOf, type Shape } from '../engine/tensor.js';
import { intAttribute, intsAttribute } from './attributes.js';
import { axesOf, axisOf, reshapeDims, squeezeDims, unsqueezeDims } from './fold.js';
import { shownDims, viewInput, type Lower, type NodeContext } from './lower_context.js';
import { nodeError } from './onnx_error.js';
import { isFloatType, type Constant } from './onnx_tensor.js';
import { dimsOf, lifted, regroup, type View } from './view.js';

/** Nodes that change the shape only, or nothing. */
export const LOWER_SHAPE: Readonly<Record<string, Lower>> = {
  Identity: (context) => viewInput(context, 0),
  Dropout: lowerDropout,
  Cast: lowerCast,
  Flatten(context) {
    const { x, dims } = whole(context);
    const given = intAttribute(context.node, 'axis', 1);
    // From -rank to rank, both included.
    const axis = given === dims.length ? given : axisOf(context.node, given, dims.length);
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
  Transpose(context) {
    const { node, batch } = context;
    const x = lifted(viewInput(context, 0), batch);
    const rank = x.axes.length;
    const perm = intsAttribute(node, 'perm') ?? x.axes.map((_, axis) => rank - 1 - axis);
    const from = perm.map((axis) => axisOf(node, axis, rank));
    if (from.length !== rank || new Set(from).size !== rank) {
      throw nodeError(node, `a permutation of ${String(rank)} axes`, perm);
    }
    return { ...x, axes: from.map((axis) => x.axes[axis] ?? []) };
  },
};

/** The first input with its sizes, the batch among them. */
function whole(context: NodeContext): { x: View; dims: number[] } {
  const x = viewInput(context, 0);
  return { x, dims: dimsOf(x) };
}

function list(context: NodeContext, what: string): Constant {
  const found = context.constant(1);
  if (found) return found;
  throw nodeError(context.node, `${what} known at load`, 'one that depends on the image');
}

/** `x` under sizes `dims`. */
function reshaped(context: NodeContext, x: View, dims: Shape): View {
  const source = lifted(x, context.batch);
  const axes = regroup(source.axes, dims);
  if (axes) return { ...source, axes };
  const from = `(${shownDims(context, x).join(', ')})`;
  throw nodeError(context.node, `a shape that joins or splits axes of ${from}`, dims);
}

function lowerDropout(context: NodeContext): View {
  const training = context.constant(2)?.data[0] ?? 0;
  if (training !== 0) throw nodeError(context.node, 'training_mode = false', true);
  return viewInput(context, 0);
}

function lowerCast(context: NodeContext): View {
  const to = intAttribute(context.node, 'to', 0);
  if (isFloatType(to)) return viewInput(context, 0);
  throw nodeError(context.node, 'a cast to floats', `type ${String(to)}`);
}
