import { floatAttribute, intAttribute, intsAttribute, stringAttribute } from './attributes.js';
import { axisOf } from './fold.js';
import {
  asMaps,
  cellsOf,
  listInput,
  mergedField,
  shownDims,
  tryMaps,
  viewInput,
  viewInputs,
  type Lower,
  type NodeContext,
} from './lower_context.js';
import { take } from './lower_slice.js';
import { fieldAfter, WHOLE_AXIS } from './lower_window.js';
import type { NetValue, PadOp, Sides } from './network.js';
import { nodeError } from './onnx_error.js';
import { isWhole, lengthOf, ownAxis, plain, sameAtoms, whole, type View } from './view.js';

/** Most weights of the convolution that adds channels of one number. */
const MAX_PADDED = 2 ** 22;

/** Nodes that put tensors or borders side by side. */
export const LOWER_JOIN: Readonly<Record<string, Lower>> = {
  Concat: lowerConcat,
  Pad: lowerPad,
};

function lowerConcat(context: NodeContext): View {
  const { node, batch } = context;
  const views = viewInputs(context).map((view) => cellsOf(view, batch));
  const [first] = views;
  if (!first) throw nodeError(node, 'at least one input', 0);
  const axis = axisOf(node, intAttribute(node, 'axis', 1), first.axes.length);
  if (views.length === 1) return first;
  const own = ownAxis(first, axis);
  const found = joined(context, views, axis, own);
  if (found) return found;
  const maps = views.flatMap((view) => tryMaps(context, view) ?? []);
  const again =
    maps.length === views.length &&
    joined(
      context,
      maps.map((value) => plain(value, batch)),
      axis,
      axis,
    );
  if (again) return again;
  const cells = axis === 1 && views.every(({ axes }) => axes.length === 2);
  const vectors = cells ? views.flatMap((view) => asCell(context, view) ?? []) : [];
  if (vectors.length === views.length) {
    const shape = [vectors.reduce((sum, { value }) => sum + (value.shape[0] ?? 1), 0), 1, 1];
    const inputs = vectors.map(({ value }) => value);
    const value = context.emit({ op: { kind: 'concat' }, inputs, shape, field: undefined });
    return { value, axes: plain(value, batch).axes.slice(0, 2) };
  }
  const what = 'maps or vectors that differ along the joined axis alone';
  throw nodeError(node, what, [
    views.map((view) => shownDims(context, view)),
    `axis ${String(axis)}`,
  ]);
}

/** A vector (N, F) as maps of one cell. */
function asCell(context: NodeContext, { value, axes }: View): View | undefined {
  const maps = tryMaps(context, { value, axes: [...axes, [], []] });
  return maps && plain(maps, context.batch);
}

function joined(
  context: NodeContext,
  views: readonly View[],
  axis: number,
  own: number,
): View | undefined {
  const [first] = views;
  if (!first || own === 0) return undefined;
  const inputs = views.map(({ value }) => asMaps(context, value));
  const shape = [...(inputs[0]?.shape ?? [])];
  shape[own - 1] = inputs.reduce((sum, input) => sum + (input.shape[own - 1] ?? 1), 0);
  const fits = views.every((view, i) => {
    const others = view.axes.every(
      (atoms, k) => k === axis || sameAtoms(atoms, first.axes[k] ?? []),
    );
    const rest = inputs[i]?.shape.every((size, k) => k === own - 1 || size === shape[k]);
    const along = isWhole(view, view.axes[axis] ?? [], own);
    return view.axes.length === first.axes.length && others && rest === true && along;
  });
  if (!fits) return undefined;
  const axes = first.axes.map((atoms, k) => (k === axis ? whole(own, shape[own - 1] ?? 1) : atoms));
  if (own === 1) {
    const field = mergedField(inputs);
    return { value: context.emit({ op: { kind: 'concat' }, inputs, shape, field }), axes };
  }
  return { value: besides(context, inputs, own, shape), axes };
}

/** Maps above or beside each other: the sum of each with zeros where the others are. */
function besides(
  context: NodeContext,
  inputs: readonly NetValue[],
  own: number,
  shape: readonly number[],
): NetValue {
  let before = 0;
  const padded = inputs.map((input) => {
    const size = input.shape[own - 1] ?? 1;
    const after = (shape[own - 1] ?? 1) - before - size;
    const pad: Sides = own === 2 ? [before, 0, after, 0] : [0, before, 0, after];
    before += size;
    return context.emit({
      op: { kind: 'pad', pad, mode: 'constant', value: 0 },
      inputs: [input],
      shape,
      field: undefined,
    });
  });
  return context.emit({ op: { kind: 'add' }, inputs: padded, shape, field: undefined });
}

function lowerPad(context: NodeContext): View {
  const { node } = context;
  const mode = stringAttribute(node, 'mode', 'constant');
  if (mode !== 'constant' && mode !== 'reflect' && mode !== 'edge' && mode !== 'wrap') {
    throw nodeError(node, 'mode = constant, reflect, edge or wrap', mode);
  }
  const x = cellsOf(viewInput(context, 0), context.batch);
  const rank = x.axes.length;
  const pads = listInput(
    context,
    1,
    intsAttribute(node, 'pads') ?? intsAttribute(node, 'paddings'),
  );
  const given = listInput(context, 3, undefined);
  const axes = given?.map((axis) => axisOf(node, axis, rank)) ?? [...x.axes.keys()];
  const value = node.opset < 11 ? floatAttribute(node, 'value', 0) : number(context, 2);
  if (pads?.length !== 2 * axes.length) {
    throw nodeError(node, `${String(2 * axes.length)} pads`, pads);
  }
  const around = axes.map((axis, i) => ({
    axis,
    before: pads[i] ?? 0,
    after: pads[i + axes.length] ?? 0,
  }));
  const negative = pads.some((pad) => pad < 0);
  if (negative && mode !== 'constant') throw nodeError(node, 'pads >= 0 where they mirror', pads);
  const cut = around.reduce((view, { axis, before, after }) => {
    const size = lengthOf(view.axes[axis] ?? []);
    const [start, end] = [Math.max(-before, 0), size - Math.max(-after, 0)];
    const length = Math.max(end - start, 0);
    return take(
      context,
      view,
      axis,
      Array.from({ length }, (_, i) => start + i),
    );
  }, x);
  return around
    .filter(({ before, after }) => before > 0 || after > 0)
    .reduce((view, { axis, before, after }) => {
      const sides = { before: Math.max(before, 0), after: Math.max(after, 0) };
      return padded(context, view, axis, { ...sides, mode, value });
    }, cut);
}

function number(context: NodeContext, index: number): number {
  return listInput(context, index, undefined)?.[0] ?? 0;
}

/** Pads one axis; consecutive pads of rows and columns become one step. */
function padded(
  context: NodeContext,
  view: View,
  axis: number,
  { before, after, mode, value }: Pick<PadOp, 'mode' | 'value'> & { before: number; after: number },
): View {
  const { node } = context;
  const own = ownAxis(view, axis);
  if (own === 0 || !isWhole(view, view.axes[axis] ?? [], own)) {
    throw nodeError(node, 'pads of channels, rows or columns', shownDims(context, view));
  }
  const x = asMaps(context, view.value);
  const size = x.shape[own - 1] ?? 1;
  const most = mode === 'reflect' ? size - 1 : mode === 'wrap' ? size : Infinity;
  if (Math.max(before, after) > most) {
    throw nodeError(node, `pads up to ${String(most)}, as the size allows`, [before, after]);
  }
  const shape = x.shape.map((one, i) => (i === own - 1 ? one + before + after : one));
  const axes = view.axes.map((atoms, k) =>
    k === axis ? whole(own, size + before + after) : atoms,
  );
  if (own === 1) {
    if (mode !== 'constant') throw nodeError(node, 'mode = constant for channels', mode);
    return { value: moreChannels(context, x, before, shape, value), axes };
  }
  const pad: Sides = own === 2 ? [before, 0, after, 0] : [0, before, 0, after];
  return { value: bordered(context, x, { pad, mode, value }, shape), axes };
}

/** A border; with that of the other axis before it as one. */
function bordered(
  context: NodeContext,
  x: NetValue,
  { pad, mode, value }: Omit<PadOp, 'kind'>,
  shape: readonly number[],
): NetValue {
  const { op, inputs, node } = x.step ?? {};
  const [source] = inputs ?? [];
  if (op?.kind === 'pad' && node === context.node && source) {
    const [top, left, bottom, right] = op.pad;
    const both: Sides = [top + pad[0], left + pad[1], bottom + pad[2], right + pad[3]];
    return bordered(context, source, { pad: both, mode, value }, shape);
  }
  const field = fieldAfter(x.field, { ...WHOLE_AXIS, kernel: [1, 1], pad });
  return context.emit({ op: { kind: 'pad', pad, mode, value }, inputs: [x], shape, field });
}

/** Channels of one number around those of x: a 1 x 1 convolution that copies. */
function moreChannels(
  context: NodeContext,
  x: NetValue,
  before: number,
  shape: readonly number[],
  value: number,
): NetValue {
  const [C = 1] = x.shape;
  const [O = 1] = shape;
  if (O * C > MAX_PADDED) throw nodeError(context.node, 'pads of fewer channels', [C, O]);
  const weight = new Float32Array(O * C);
  const bias = new Float32Array(O).fill(value);
  for (let c = 0; c < C; c++) {
    weight[(before + c) * C + c] = 1;
    bias[before + c] = 0;
  }
  const window = { ...WHOLE_AXIS, kernel: [1, 1] as const };
  const weightShape = [O, C, 1, 1] as const;
  const op = { kind: 'conv', weight, weightShape, bias, groups: 1, ...window } as const;
  return context.emit({ op, inputs: [x], shape, field: x.field });
}
