import { floatsAttribute, intAttribute, intsAttribute, stringAttribute } from './attributes.js';
import { axisOf } from './fold.js';
import {
  cellsOf,
  listInput,
  mapsInput,
  shownDims,
  viewInput,
  type Lower,
  type NodeContext,
} from './lower_context.js';
import { WHOLE_AXIS } from './lower_window.js';
import type { Field, NetValue, ResizeTable } from './network.js';
import { nodeError } from './onnx_error.js';
import { isWhole, lengthOf, plain, whole, type View } from './view.js';

/** Nodes that stretch or shrink maps. */
export const LOWER_RESIZE: Readonly<Record<string, Lower>> = {
  Resize: lowerResize,
  Upsample: lowerResize,
  WindowMean: lowerWindowMean,
};

/** How an axis of `size` cells becomes `count` of them. */
interface Stretch {
  size: number;
  count: number;
  scale: number;
}

interface Rule {
  linear: boolean;
  coordinates: string;
  nearest: string;
}

function lowerResize(context: NodeContext): View {
  const { node, batch } = context;
  const x = cellsOf(viewInput(context, 0), batch);
  const rule = ruleOf(node);
  const stretches = stretchesOf(context, x);
  const place = (own: number): number =>
    x.axes.findIndex((atoms) => atoms.length > 0 && isWhole(x, atoms, own));
  const [rowsAt, columnsAt] = [place(2), place(3)];
  const moved = stretches.some(
    ({ size, count }, i) => size !== count && i !== rowsAt && i !== columnsAt,
  );
  if (moved || x.value.shape.length !== 3) {
    throw nodeError(node, 'new sizes of rows and columns alone', shownDims(context, x));
  }
  const [, H = 1, W = 1] = x.value.shape;
  const table = (at: number, size: number): ResizeTable =>
    tableOf(rule, stretches[at] ?? { size, count: size, scale: 1 });
  const [rows, columns] = [table(rowsAt, H), table(columnsAt, W)];
  if (idle(rows, H) && idle(columns, W)) return x;
  const [C = 1] = x.value.shape;
  const [P, Q] = [rows.low.length, columns.low.length];
  const [vertical, horizontal] = x.value.field ?? [];
  const field: NetValue['field'] =
    vertical && horizontal ? [seen(vertical, rows, H), seen(horizontal, columns, W)] : undefined;
  const value = context.emit({
    op: { kind: 'resize', rows, columns },
    inputs: [x.value],
    shape: [C, P, Q],
    field,
  });
  const axes = x.axes.map((atoms, i) => {
    if (i === rowsAt) return whole(2, P);
    return i === columnsAt ? whole(3, Q) : atoms;
  });
  return { value, axes };
}

function ruleOf(node: NodeContext['node']): Rule {
  const mode = stringAttribute(node, 'mode', 'nearest');
  const old = node.opType === 'Upsample' || node.opset < 11;
  const text = (name: string, fallback: string): string =>
    old ? fallback : stringAttribute(node, name, fallback);
  const coordinates = text('coordinate_transformation_mode', old ? 'asymmetric' : 'half_pixel');
  const nearest = text('nearest_mode', old ? 'simple' : 'round_prefer_floor');
  if (mode !== 'nearest' && mode !== 'linear')
    throw nodeError(node, 'mode = nearest or linear', mode);
  if (!Object.hasOwn(COORDINATES, coordinates)) {
    throw nodeError(node, `one of ${Object.keys(COORDINATES).join(', ')}`, coordinates);
  }
  if (!Object.hasOwn(NEAREST, nearest)) throw nodeError(node, 'a nearest_mode of ONNX', nearest);
  if (intAttribute(node, 'antialias', 0) !== 0) throw nodeError(node, 'antialias = 0', 1);
  const policy = stringAttribute(node, 'keep_aspect_ratio_policy', 'stretch');
  if (policy !== 'stretch') throw nodeError(node, 'keep_aspect_ratio_policy = stretch', policy);
  return { linear: mode === 'linear', coordinates, nearest };
}

/** The new size of each tensor axis, from scales or sizes. */
function stretchesOf(context: NodeContext, x: View): Stretch[] {
  const { node } = context;
  const old = node.opType === 'Upsample' || node.opset < 11;
  const axes = intsAttribute(node, 'axes')?.map((axis) => axisOf(node, axis, x.axes.length));
  const scales = listInput(context, old ? 1 : 2, floatsAttribute(node, 'scales'));
  const sizes = old ? undefined : listInput(context, 3, undefined);
  const order = axes ?? [...x.axes.keys()];
  const given = sizes?.length ? sizes : scales;
  if (given?.length !== order.length) {
    throw nodeError(node, `${String(order.length)} scales or sizes known at load`, given);
  }
  return x.axes.map((atoms, axis) => {
    const size = lengthOf(atoms);
    const number = given[order.indexOf(axis)];
    if (number === undefined) return { size, count: size, scale: 1 };
    const scale = Math.fround(sizes?.length ? number / size : number);
    const count = sizes?.length ? number : Math.floor(Math.fround(size * scale));
    if (count >= 1 && count < 2 ** 31) return { size, count, scale };
    throw nodeError(node, 'sizes >= 1', given);
  });
}

type Coordinate = (at: number, stretch: Stretch) => number;

/** Where a new cell lies among the old ones; float32 as runtimes compute it, which decides ties. */
const COORDINATES: Readonly<Record<string, Coordinate>> = {
  half_pixel: (at, { scale }) => halfPixel(at, scale),
  pytorch_half_pixel: (at, { scale, count }) => (count > 1 ? halfPixel(at, scale) : 0),
  half_pixel_symmetric(at, { size, count, scale }) {
    const adjustment = Math.fround(count / Math.fround(scale * size));
    const center = size / 2;
    const offset = Math.fround(center * Math.fround(1 - adjustment));
    return Math.fround(offset + halfPixel(at, scale));
  },
  align_corners: (at, { size, count }) =>
    count === 1 ? 0 : Math.fround(Math.fround(at * (size - 1)) / (count - 1)),
  asymmetric: (at, { scale }) => Math.fround(at / scale),
  tf_half_pixel_for_nn: (at, { scale }) => Math.fround(Math.fround(at + 0.5) / scale),
};

function halfPixel(at: number, scale: number): number {
  return Math.fround(Math.fround(Math.fround(at + 0.5) / scale) - 0.5);
}

const NEAREST: Readonly<Record<string, (x: number, shrinks: boolean) => number>> = {
  round_prefer_floor: (x) => (x - Math.floor(x) === 0.5 ? Math.floor(x) : Math.round(x)),
  round_prefer_ceil: (x) => Math.round(x),
  floor: (x) => Math.floor(x),
  ceil: (x) => Math.ceil(x),
  simple: (x, shrinks) => (shrinks ? Math.ceil(x) : Math.trunc(x)),
};

function tableOf({ linear, coordinates, nearest }: Rule, stretch: Stretch): ResizeTable {
  const { size, count, scale } = stretch;
  const low = new Int32Array(count);
  const high = new Int32Array(count);
  const share = new Float32Array(count);
  const within = (at: number): number => Math.min(Math.max(at, 0), size - 1);
  for (let i = 0; i < count; i++) {
    const x = scale === 1 ? i : (COORDINATES[coordinates]?.(i, stretch) ?? 0);
    if (linear) {
      const inside = within(x);
      low[i] = Math.floor(inside);
      high[i] = within(Math.floor(inside) + 1);
      share[i] = inside - Math.floor(inside);
    } else {
      const at = within(NEAREST[nearest]?.(x, scale < 1) ?? 0);
      low[i] = at;
      high[i] = at;
    }
  }
  return { low, high, share };
}

function idle({ low, share }: ResizeTable, size: number): boolean {
  return low.length === size && low.every((at, i) => at === i) && share.every((part) => part === 0);
}

/** What the new cells see at most: each the old ones that it is mixed from. */
function seen(field: Field, { low, high }: ResizeTable, size: number): Field {
  const stride = (field.stride * size) / low.length;
  let [first, last] = [Infinity, -Infinity];
  low.forEach((at, i) => {
    first = Math.min(first, field.first + at * field.stride - i * stride);
    last = Math.max(last, field.last + (high[i] ?? at) * field.stride - i * stride);
  });
  return { stride, first, last };
}

/**
 * Means over windows of rows and columns (adaptive pooling; `rows` and `columns` hold first and count
 * of each): every cell as often as makes all windows one size, then a plain average.
 */
function lowerWindowMean(context: NodeContext): View {
  const { node, batch } = context;
  const { x, C } = mapsInput(context, 0);
  const [rows, columns] = ['rows', 'columns'].map((name) => intsAttribute(node, name) ?? []);
  const [tall, wide] = [spreadWindows(rows ?? []), spreadWindows(columns ?? [])];
  if (tall.length * wide.length === 0)
    throw nodeError(node, 'windows of few sizes', [rows, columns]);
  const table = (low: Int32Array): ResizeTable => ({
    low,
    high: low,
    share: new Float32Array(low.length),
  });
  const [P, Q] = [(rows?.length ?? 0) / 2, (columns?.length ?? 0) / 2];
  const spread = context.emit({
    op: { kind: 'resize', rows: table(tall), columns: table(wide) },
    inputs: [x],
    shape: [C, tall.length, wide.length],
    field: undefined,
  });
  const kernel = [tall.length / P, wide.length / Q] as const;
  const window = { ...WHOLE_AXIS, kernel, stride: kernel };
  const value = context.emit({
    op: { kind: 'avgpool', ceil: false, countIncludePad: false, ...window },
    inputs: [spread],
    shape: [C, P, Q],
    field: undefined,
  });
  return plain(value, batch);
}

/** Most places of a window. */
const MAX_WINDOW = 128;

/** Cells of windows, repeated to the least common multiple of their sizes; empty where that is large. */
function spreadWindows(windows: readonly number[]): Int32Array {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  const counts = windows.filter((_, i) => i % 2 === 1);
  const length = counts.reduce((all, n) => (all / divisor(all, n)) * n, 1);
  if (!(length >= 1 && length <= MAX_WINDOW)) return new Int32Array(0);
  return Int32Array.from({ length: counts.length * length }, (_, i) => {
    const window = Math.floor(i / length);
    const place = Math.floor(((i % length) * (counts[window] ?? 1)) / length);
    return (windows[2 * window] ?? 0) + place;
  });
}
