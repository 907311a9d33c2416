import { intAttribute, intsAttribute } from './attributes.js';
import { axisOf } from './fold.js';
import {
  asMaps,
  cellsOf,
  listInput,
  shownDims,
  viewInput,
  type Lower,
  type NodeContext,
} from './lower_context.js';
import type { Field, NetValue, Range, StepOp } from './network.js';
import { nodeError } from './onnx_error.js';
import {
  coalesce,
  indexAlong,
  lengthOf,
  ownAxis,
  regroup,
  whole,
  type Atom,
  type View,
} from './view.js';

/** Nodes that take some indices of axes. */
export const LOWER_SLICE: Readonly<Record<string, Lower>> = {
  Slice: lowerSlice,
  Split: lowerSplit,
  Gather: lowerGather,
};

function lowerSlice(context: NodeContext): View {
  const { node } = context;
  const x = viewInput(context, 0);
  const starts = listInput(context, 1, intsAttribute(node, 'starts')) ?? [];
  const ends = listInput(context, 2, intsAttribute(node, 'ends')) ?? [];
  const axes = listInput(context, 3, intsAttribute(node, 'axes')) ?? [...starts.keys()];
  const steps = listInput(context, 4, undefined) ?? starts.map(() => 1);
  const same = [ends, axes, steps].every((list) => list.length === starts.length);
  if (!same || steps.includes(0)) {
    throw nodeError(node, 'as many ends, axes and steps other than 0 as starts', [
      starts,
      ends,
      axes,
      steps,
    ]);
  }
  return starts.reduce((view, start, i) => {
    const axis = axisOf(node, axes[i] ?? 0, view.axes.length);
    const size = lengthOf(view.axes[axis] ?? []);
    const taken = rangeOf(size, start, ends[i] ?? 0, steps[i] ?? 1);
    return take(context, view, axis, taken);
  }, x);
}

/** The indices that `start:end:step` takes of an axis, as NumPy and ONNX clamp them. */
function rangeOf(size: number, start: number, end: number, step: number): number[] {
  const place = (at: number): number => {
    const from = at < 0 ? at + size : at;
    return step > 0 ? Math.min(Math.max(from, 0), size) : Math.min(Math.max(from, -1), size - 1);
  };
  // A start below -size clamps to 0 for negative steps too.
  const first = step < 0 && start < -size ? 0 : place(start);
  const count = Math.max(Math.ceil((place(end) - first) / step), 0);
  return Array.from({ length: count }, (_, i) => first + i * step);
}

function lowerSplit(context: NodeContext): View[] {
  const { node } = context;
  const x = viewInput(context, 0);
  const axis = axisOf(node, intAttribute(node, 'axis', 0), x.axes.length);
  const size = lengthOf(x.axes[axis] ?? []);
  const given = listInput(context, 1, intsAttribute(node, 'split'));
  const count = given?.length ?? intAttribute(node, 'num_outputs', node.outputs.length);
  const each = Math.ceil(size / count);
  const sizes =
    given ?? Array.from({ length: count }, (_, i) => Math.min(each, Math.max(size - i * each, 0)));
  const total = sizes.reduce((sum, one) => sum + one, 0);
  if (total !== size || sizes.length < node.outputs.length || sizes.some((one) => one < 1)) {
    throw nodeError(node, `sizes >= 1 that add up to ${String(size)}`, sizes);
  }
  let start = 0;
  return sizes.map((length) => {
    const taken = Array.from({ length }, (_, i) => start + i);
    start += length;
    return take(context, x, axis, taken);
  });
}

function lowerGather(context: NodeContext): View {
  const { node } = context;
  const x = viewInput(context, 0);
  const indices = context.constant(1);
  const axis = axisOf(node, intAttribute(node, 'axis', 0), x.axes.length);
  const size = lengthOf(x.axes[axis] ?? []);
  // Exporters write a tensor taken as it is with other sizes (as_strided) as indices 0, 1, 2 ...
  const dims = x.axes.map(lengthOf);
  const asItIs = indices?.data.length === size && indices.data.every((index, i) => index === i);
  const grouped =
    asItIs &&
    regroup(
      x.axes,
      dims.flatMap((n, i) => (i === axis ? indices.dims : n)),
    );
  if (grouped) return { ...x, axes: grouped };
  if (!indices || indices.dims.length > 1) {
    throw nodeError(node, 'an index or a list of them known at load', indices?.dims);
  }
  const taken = Array.from(indices.data, (index) => axisOf(node, index, size));
  const view = take(context, x, axis, taken);
  if (indices.dims.length === 1) return view;
  return { ...view, axes: view.axes.filter((_, i) => i !== axis) };
}

/** Some indices of a tensor's axis, in their order. */
export function take(
  context: NodeContext,
  given: View,
  axis: number,
  taken: readonly number[],
): View {
  const view = cellsOf(given, context.batch);
  const atoms = view.axes[axis] ?? [];
  const size = lengthOf(atoms);
  if (taken.length === 0) throw nodeError(context.node, 'at least one index', taken);
  if (taken.length === size && taken.every((index, i) => index === i)) return view;
  const own = ownAxis(view, axis);
  const found =
    own !== 0 && atoms.every((atom) => atom.axis === own)
      ? taking(context, view, axis, { own, taken })
      : undefined;
  if (found) return found;
  const what = 'indices of channels, rows or columns';
  throw nodeError(context.node, what, [shownDims(context, view), `axis ${String(axis)}`]);
}

function taking(
  context: NodeContext,
  view: View,
  axis: number,
  { own, taken }: { own: number; taken: readonly number[] },
): View | undefined {
  const atoms = view.axes[axis] ?? [];
  const { value } = view;
  const length = value.shape[own - 1] ?? 1;
  // All factors of the value's axis: those of this tensor axis become one, the outermost.
  const others = view.axes
    .flatMap((list, i) => (i === axis ? [] : list.filter((atom) => atom.axis === own)))
    .sort((a, b) => b.stride - a.stride);
  const [only] = atoms;
  const inside = atoms.length === 1 && only ? only : undefined;
  if (lengthOf([...atoms, ...others]) !== length) return undefined;
  const order = inside
    ? [...others, inside].sort((a, b) => b.stride - a.stride)
    : [...atoms, ...others];
  const ranked = order.map((atom) => (atom === inside ? { ...atom, size: taken.length } : atom));
  if (!inside && others.length > 0) return undefined;
  const index = indexList(order, inside, atoms, taken);
  const next = restrided(inside ? ranked : whole(own, taken.length));
  const chosen = select(context, value, own, index);
  const axes = view.axes.map((list, i): Atom[] => {
    if (i === axis) return inside ? pick(order, next, inside) : whole(own, taken.length);
    return coalesce(list.flatMap((atom) => (atom.axis === own ? pick(order, next, atom) : [atom])));
  });
  return { value: chosen, axes };
}

/** The factor that took the place of `atom`; none where one index was taken. */
function pick(order: readonly Atom[], next: readonly Atom[], atom: Atom): Atom[] {
  const found = next[order.indexOf(atom)];
  return !found || found.size === 1 ? [] : [found];
}

/** Factors of one axis, the outermost first, with the strides that their sizes make. */
export function restrided(atoms: readonly Atom[]): Atom[] {
  let stride = 1;
  const result: Atom[] = [];
  for (const atom of [...atoms].reverse()) {
    result.unshift({ ...atom, stride });
    stride *= atom.size;
  }
  return result;
}

/** For each index of the new axis the old one. */
function indexList(
  order: readonly Atom[],
  inside: Atom | undefined,
  atoms: readonly Atom[],
  taken: readonly number[],
): number[] {
  if (!inside) {
    const where: number[] = [];
    const length = lengthOf(atoms);
    const own = (atoms[0]?.axis ?? 1) - 1;
    for (let i = 0; i < length; i++) {
      const place = [0, 0, 0];
      place[own] = i;
      where[indexAlong(atoms, place)] = i;
    }
    return taken.map((index) => where[index] ?? 0);
  }
  return order.reduce<number[]>(
    (all, atom) => {
      const steps = atom === inside ? taken : [...Array(atom.size).keys()];
      return all.flatMap((base) => steps.map((step) => base + step * atom.stride));
    },
    [0],
  );
}

/** Indices of the value's own axis: a slice where they are evenly spaced, else one by one. */
export function select(
  context: NodeContext,
  value: NetValue,
  own: number,
  index: readonly number[],
): NetValue {
  const [first = 0, second = first + 1] = index;
  const step = index.length === 1 ? 1 : second - first;
  const even = step !== 0 && index.every((at, i) => at === first + i * step);
  const maps = asMaps(context, value);
  const shape = maps.shape.map((size, i) => (i === own - 1 ? index.length : size));
  let op: StepOp;
  if (even) {
    const range = (i: number): Range =>
      i === own
        ? { first, step, count: index.length }
        : { first: 0, step: 1, count: maps.shape[i - 1] ?? 1 };
    op = { kind: 'slice', channels: range(1), rows: range(2), columns: range(3) };
  } else if (own === 1) op = { kind: 'gather', index: Int32Array.from(index) };
  else {
    const table = (axis: number) => {
      const cells = [...Array(maps.shape[axis - 1] ?? 1).keys()];
      const low = Int32Array.from(axis === own ? index : cells);
      return { low, high: low, share: new Float32Array(low.length) };
    };
    op = { kind: 'resize', rows: table(2), columns: table(3) };
  }
  const field = even || own === 1 ? fieldOf(maps.field, own, first, step) : undefined;
  return context.emit({ op, inputs: [maps], shape, field });
}

function fieldOf(
  field: NetValue['field'],
  own: number,
  start: number,
  step: number,
): NetValue['field'] {
  if (!field || own === 1) return field;
  if (step < 1) return undefined;
  const axis = ({ stride, first, last }: Field, moves: boolean): Field =>
    moves
      ? { stride: stride * step, first: first + start * stride, last: last + start * stride }
      : { stride, first, last };
  return [axis(field[0], own === 2), axis(field[1], own === 3)];
}
