import { sizeOf } from '../engine/tensor.js';
import { floatAttribute, intAttribute } from './attributes.js';
import { axisOf } from './fold.js';
import { scaleAndShift, withConstant } from './lower_arithmetic.js';
import {
  apply,
  asMaps,
  cellsOf,
  floatsInput,
  like,
  mapsInput,
  shownDims,
  vectorInput,
  viewInput,
  weightInput,
  type Lower,
  type NodeContext,
} from './lower_context.js';
import { nodeError } from './onnx_error.js';
import { lengthOf, plain, wholeAxes, type Atom, type View } from './view.js';

/** Nodes that normalise. */
export const LOWER_NORM: Readonly<Record<string, Lower>> = {
  BatchNormalization: lowerBatchNorm,
  LRN: lowerLrn,
  Softmax: lowerSoftmax,
  LayerNormalization: lowerLayerNorm,
  InstanceNormalization: lowerInstanceNorm,
  GroupNormalization: lowerGroupNorm,
};

/** y = scale (x - mean) / sqrt(var + epsilon) + b, with the stored statistics. */
function lowerBatchNorm(context: NodeContext): View {
  const { node } = context;
  if (intAttribute(node, 'training_mode', 0) !== 0 || intAttribute(node, 'spatial', 1) !== 1) {
    const remedy = 'Export the model after model.eval().';
    throw nodeError(node, 'training_mode = 0 and spatial = 1', [...node.attributes.keys()], remedy);
  }
  if (node.outputs.filter((name) => name !== '').length > 1) {
    const remedy = 'It is in training mode: export the model after model.eval().';
    throw nodeError(node, 'one output', node.outputs, remedy);
  }
  const x = viewInput(context, 0);
  const C = lengthOf(x.axes[1] ?? []);
  const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((i) => vectorInput(context, i, C));
  const epsilon = floatAttribute(node, 'epsilon', 1e-5);
  const scale = new Float64Array(C).map(
    (_, c) => (gamma?.[c] ?? 1) / Math.sqrt((variance?.[c] ?? 1) + epsilon),
  );
  const shift = scale.map((factor, c) => (beta?.[c] ?? 0) - (mean?.[c] ?? 0) * factor);
  return scaleAndShift(context, x, {
    scale: Float32Array.from(scale),
    shift: Float32Array.from(shift),
    axis: 1,
  });
}

function lowerLrn(context: NodeContext): View {
  const { node, batch } = context;
  const { x } = mapsInput(context, 0);
  const size = intAttribute(node, 'size', 0);
  if (size < 1 || size >= 2 ** 31) throw nodeError(node, 'size >= 1', size);
  const value = context.emit(
    like(x, {
      kind: 'lrn',
      size,
      alpha: floatAttribute(node, 'alpha', 1e-4),
      beta: floatAttribute(node, 'beta', 0.75),
      k: floatAttribute(node, 'bias', 1),
    }),
  );
  return plain(value, batch);
}

/** Softmax over the features; before opset 13 the axis said where to flatten. */
function lowerSoftmax(context: NodeContext): View {
  const { node } = context;
  const x = viewInput(context, 0);
  const rank = x.axes.length;
  const axis = axisOf(node, intAttribute(node, 'axis', node.opset < 13 ? 1 : -1), rank);
  const over = node.opset < 13 ? x.axes.slice(axis).flat() : (x.axes[axis] ?? []);
  const all = lengthOf(over) === sizeOf(x.value.shape) && over.every((atom) => atom.axis !== 0);
  if (all && sizeOf(x.value.shape.slice(1)) === 1) {
    return { ...x, value: context.emit(like(x.value, { kind: 'softmax' })) };
  }
  throw nodeError(node, 'a softmax over the features of (N, F)', [
    `axis ${String(axis)}`,
    shownDims(context, x),
  ]);
}

function lowerLayerNorm(context: NodeContext): View {
  const { node } = context;
  if (node.outputs.slice(1).some((name) => name !== '') && node.outputs.length > 1) {
    throw nodeError(node, 'one output', node.outputs);
  }
  const x = cellsOf(viewInput(context, 0), context.batch);
  const first = axisOf(node, intAttribute(node, 'axis', -1), x.axes.length);
  const normalised = normalise(context, x, x.axes.slice(first).flat());
  const scaled = withConstant(context, 'mul', normalised, weightInput(context, 1));
  const bias = floatsInput(context, 2);
  return bias ? withConstant(context, 'add', scaled, bias) : scaled;
}

/** To mean 0 and variance 1 over some factors of the axes. */
function normalise(context: NodeContext, x: View, over: readonly Atom[]): View {
  const { node } = context;
  const epsilon = floatAttribute(node, 'epsilon', 1e-5);
  const [, H = 1, W = 1] = x.value.shape;
  const axes = wholeAxes(x, over);
  if (axes?.size === 1 && axes.has(1)) return apply(context, x, { kind: 'channel_norm', epsilon });
  const groups = groupsOver(x, over);
  const cells = over.filter((atom) => atom.axis === 2 || atom.axis === 3);
  if (groups === undefined || lengthOf(cells) !== H * W) {
    const what = 'a normalisation over channels, or over all cells and whole groups of channels';
    throw nodeError(node, what, shownDims(context, x));
  }
  const value = asMaps(context, x.value);
  const normed = context.emit(like(value, { kind: 'group_norm', groups, epsilon }));
  return { ...x, value: normed };
}

/** In how many groups of neighbours the channels among `over` divide all of them. */
function groupsOver({ value }: View, over: readonly Atom[]): number | undefined {
  const [C = 1] = value.shape;
  const channels = over.filter((atom) => atom.axis === 1);
  if (over.some((atom) => atom.axis === 0)) return undefined;
  const size = lengthOf(channels);
  const neighbours = channels.every((atom) => atom.stride * atom.size <= size);
  return neighbours ? C / size : undefined;
}

/** Each channel's cells to mean 0 and variance 1; a channel may be a group (N, G, ...) of them. */
function lowerInstanceNorm(context: NodeContext): View {
  const x = cellsOf(viewInput(context, 0), context.batch);
  const G = lengthOf(x.axes[1] ?? []);
  const normed = normalise(context, x, x.axes.slice(2).flat());
  const [scale, shift] = [vectorInput(context, 1, G), vectorInput(context, 2, G)];
  return scaleAndShift(context, normed, { scale, shift, axis: 1 });
}

/** Up to opset 20 one scale and shift for each group, then for each channel. */
function lowerGroupNorm(context: NodeContext): View {
  const { node, batch } = context;
  const { x, C } = mapsInput(context, 0);
  const groups = intAttribute(node, 'num_groups', 0);
  if (groups < 1 || C % groups !== 0) {
    throw nodeError(node, `num_groups that divides ${String(C)}`, groups);
  }
  const epsilon = floatAttribute(node, 'epsilon', 1e-5);
  const normed = plain(context.emit(like(x, { kind: 'group_norm', groups, epsilon })), batch);
  const each = node.opset < 21 ? C / groups : 1;
  const [scale, shift] = [1, 2].map((index) => {
    const given = vectorInput(context, index, C / each);
    return Float32Array.from({ length: C }, (_, c) => given[Math.floor(c / each)] ?? 0);
  });
  if (!scale || !shift) return normed;
  return scaleAndShift(context, normed, { scale, shift, axis: 1 });
}
