import { sizeOf } from '../engine/tensor.js';
import { intAttribute } from './attributes.js';
import { axesOf, axisOf } from './fold.js';
import { withConstant } from './lower_arithmetic.js';
import {
  apply,
  asMaps,
  cellsOf,
  like,
  mapsInput,
  shownDims,
  viewInput,
  type Lower,
  type NodeContext,
} from './lower_context.js';
import { fieldAfter, WHOLE_AXIS } from './lower_window.js';
import type { NetValue, Window } from './network.js';
import { nodeError } from './onnx_error.js';
import { plain, wholeAxes, type View } from './view.js';

type How = 'mean' | 'sum' | 'max';

/** Nodes that leave one number of whole axes. */
export const LOWER_REDUCE: Readonly<Record<string, Lower>> = {
  GlobalAveragePool: (context) => globalPool(context, 'mean'),
  GlobalMaxPool: (context) => globalPool(context, 'max'),
  ReduceMean: (context) => lowerReduce(context, 'mean'),
  ReduceSum: (context) => lowerReduce(context, 'sum'),
  ReduceMax: (context) => lowerReduce(context, 'max'),
  ReduceMin(context) {
    const x = apply(context, viewInput(context, 0), { kind: 'activation', name: 'neg' });
    const most = lowerReduce(
      { ...context, view: (index) => (index === 0 ? x : context.view(index)) },
      'max',
    );
    return apply(context, most, { kind: 'activation', name: 'neg' });
  },
};

function globalPool(context: NodeContext, how: How): View {
  const { x } = mapsInput(context, 0);
  const value = overCells(context, x, how, new Set([2, 3]));
  return plain(value, context.batch);
}

function lowerReduce(context: NodeContext, how: How): View {
  const { node } = context;
  const x = cellsOf(viewInput(context, 0), context.batch);
  const rank = x.axes.length;
  const given = axesOf(node, axesInput(context))?.map((axis) => axisOf(node, axis, rank));
  if (!given?.length && intAttribute(node, 'noop_with_empty_axes', 0) !== 0) return x;
  const gone = given?.length ? new Set(given) : new Set(x.axes.keys());
  const over = x.axes.flatMap((axis, i) => (gone.has(i) ? axis : []));
  const axes = wholeAxes(x, over);
  if (!axes) {
    throw nodeError(node, 'whole axes of an image', [shownDims(context, x), [...gone]]);
  }
  const keeps = intAttribute(node, 'keepdims', 1) !== 0;
  const rest = x.axes.flatMap((axis, i) => (gone.has(i) ? (keeps ? [[]] : []) : [axis]));
  const pooled = overCells(context, asMaps(context, x.value), how, axes);
  return { value: axes.has(1) ? overChannels(context, pooled, how) : pooled, axes: rest };
}

function axesInput(context: NodeContext): ReturnType<NodeContext['constant']> {
  if (!context.view(1)) return context.constant(1);
  throw nodeError(context.node, 'axes known at load', 'a computed value');
}

/** Rows and columns, those of `axes` that are there, to one. */
function overCells(
  context: NodeContext,
  x: NetValue,
  how: How,
  axes: ReadonlySet<number>,
): NetValue {
  const [C = 1, H = 1, W = 1] = x.shape;
  const kernel = [axes.has(2) ? H : 1, axes.has(3) ? W : 1] as const;
  const window: Window = { ...WHOLE_AXIS, kernel };
  if (sizeOf(kernel) === 1) return x;
  const kind = how === 'max' ? 'maxpool' : 'avgpool';
  const pooled = context.emit({
    op: { kind, ceil: false, countIncludePad: false, ...window },
    inputs: [x],
    shape: [C, H / kernel[0], W / kernel[1]],
    field: fieldAfter(x.field, window),
  });
  if (how !== 'sum') return pooled;
  const count = { kind: 'float', dims: [], data: Float32Array.of(sizeOf(kernel)) } as const;
  return withConstant(context, 'mul', plain(pooled, context.batch), count).value;
}

/** All channels to one: a 1 x 1 convolution, or the larger of two halves again and again. */
function overChannels(context: NodeContext, x: NetValue, how: How): NetValue {
  const [C = 1, H = 1, W = 1] = x.shape;
  if (how === 'max') return largest(context, x);
  const weight = new Float32Array(C).fill(how === 'mean' ? 1 / C : 1);
  const weightShape = [1, C, 1, 1] as const;
  const window = { ...WHOLE_AXIS, kernel: [1, 1] as const };
  return context.emit({
    op: { kind: 'conv', weight, weightShape, bias: undefined, groups: 1, ...window },
    inputs: [x],
    shape: [1, H, W],
    field: x.field,
  });
}

function largest(context: NodeContext, x: NetValue): NetValue {
  const [C = 1, H = 1, W = 1] = x.shape;
  if (C === 1) return x;
  const count = Math.ceil(C / 2);
  const shape = [count, H, W];
  const rows = { first: 0, step: 1, count: H };
  const columns = { first: 0, step: 1, count: W };
  const halves = [0, C - count].map((first) => {
    const channels = { first, step: 1, count };
    const op = { kind: 'slice', channels, rows, columns } as const;
    return context.emit({ ...like(x, op), shape });
  });
  const op = { kind: 'binary', name: 'max' } as const;
  return largest(context, context.emit({ op, inputs: halves, shape, field: x.field }));
}
