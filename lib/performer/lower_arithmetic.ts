import { sameShape, sizeOf } from '../engine/tensor.js';
import {
  apply,
  asMaps,
  cellsOf,
  mergedField,
  shownDims,
  tryMaps,
  viewInput,
  type Lower,
  type NodeContext,
} from './lower_context.js';
import type { BinaryKind, NetValue, StepOp } from './network.js';
import { nodeError } from './onnx_error.js';
import type { Constant } from './onnx_tensor.js';
import { indexAlong, lengthOf, permutationOf, plain, sameAtoms, whole, type View } from './view.js';

/** Most elements of a constant that is written out over the cells of a map. */
const MAX_SPREAD = 2 ** 26;

/** Arithmetic of two or more tensors with broadcast. */
export const LOWER_ARITHMETIC: Readonly<Record<string, Lower>> = {
  Add: (context) => lowerBinary(context, 'add'),
  Sub: (context) => lowerBinary(context, 'sub'),
  Mul: (context) => lowerBinary(context, 'mul'),
  Div: (context) => lowerBinary(context, 'div'),
  Pow: (context) => lowerBinary(context, 'pow'),
  Max: (context) => lowerMany(context, 'max'),
  Min: (context) => lowerMany(context, 'min'),
  Sum: lowerSum,
  Mean(context) {
    const sum = lowerSum(context);
    const share = Float32Array.of(1 / context.inputCount);
    return withConstant(context, 'mul', sum, { kind: 'float', dims: [], data: share });
  },
};

function lowerBinary(context: NodeContext, kind: BinaryKind): View {
  const [a, b] = [context.view(0), context.view(1)];
  if (a && b) return binary(context, kind, a, b);
  if (a) return withConstant(context, kind, a, constantInput(context, 1));
  return withConstant(context, kind, viewInput(context, 1), constantInput(context, 0), true);
}

function constantInput(context: NodeContext, index: number): Constant {
  const found = context.constant(index);
  if (found) return found;
  throw nodeError(context.node, `input ${String(index)}`, 'nothing');
}

/** Two or more tensors; the constants among them come last, which is the same. */
function lowerMany(context: NodeContext, kind: 'max' | 'min' | 'add'): View {
  const indices = Array.from({ length: context.inputCount }, (_, index) => index);
  const views = indices.flatMap((index) => context.view(index) ?? []);
  const constants = indices.filter((index) => !context.view(index));
  const joined = views.reduce((all, next) => binary(context, kind, all, next));
  return constants.reduce(
    (all, index) => withConstant(context, kind, all, constantInput(context, index)),
    joined,
  );
}

function lowerSum(context: NodeContext): View {
  const views = Array.from({ length: context.inputCount }, (_, index) => context.view(index));
  const [first] = views;
  const all = views.flatMap((view) => (view ? [cellsOf(view, context.batch)] : []));
  const same = all.every(
    (view) => first !== undefined && alike(view, cellsOf(first, context.batch)),
  );
  if (all.length < views.length || !same || !first) return lowerMany(context, 'add');
  if (all.length === 1) return first;
  const inputs = all.map(({ value }) => value);
  return { ...cellsOf(first, context.batch), value: sum(context, inputs) };
}

function alike(a: View, b: View): boolean {
  return (
    sameShape(a.value.shape, b.value.shape) &&
    a.axes.length === b.axes.length &&
    a.axes.every((axis, i) => sameAtoms(axis, b.axes[i] ?? []))
  );
}

function sum(context: NodeContext, inputs: readonly NetValue[]): NetValue {
  const shape = inputs[0]?.shape ?? [];
  return context.emit({ op: { kind: 'add' }, inputs, shape, field: mergedField(inputs) });
}

/** a kind b of two computed tensors, broadcast as in NumPy. */
export function binary(context: NodeContext, kind: BinaryKind, first: View, second: View): View {
  const { batch } = context;
  const [a, b] = [cellsOf(first, batch), cellsOf(second, batch)];
  const found = aligned(context, kind, a, b);
  if (found) return found;
  const [x, y] = [tryMaps(context, a), tryMaps(context, b)];
  const again = x && y && aligned(context, kind, plain(x, batch), plain(y, batch));
  if (again) return again;
  const shapes = [shownDims(context, first), shownDims(context, second)];
  throw nodeError(context.node, 'inputs of one shape, or shapes that broadcast', shapes);
}

/** The result where the axes of both are made of the same factors. */
function aligned(context: NodeContext, kind: BinaryKind, a: View, b: View): View | undefined {
  const rank = Math.max(a.axes.length, b.axes.length);
  const at = (view: View, axis: number) => view.axes[axis - rank + view.axes.length] ?? [];
  const axes = Array.from({ length: rank }, (_, i) => {
    const [one, other] = [at(a, i), at(b, i)];
    if (other.length === 0 || sameAtoms(one, other)) return one;
    return one.length === 0 ? other : undefined;
  });
  const fitting = axes.flatMap((axis) => (axis ? [axis] : []));
  if (fitting.length < rank) return undefined;
  const bothRows = a.value.shape.length === 1 && b.value.shape.length === 1;
  const threes = [a, b].map(({ value }) => [
    value.shape[0] ?? 1,
    value.shape[1] ?? 1,
    value.shape[2] ?? 1,
  ]);
  const sizes = [0, 1, 2].map((i) => Math.max(...threes.map((shape) => shape[i] ?? 1)));
  const broadcasts = threes.every((shape) =>
    shape.every((size, i) => size === 1 || size === sizes[i]),
  );
  if (!broadcasts || lengthOf(fitting.flat()) !== context.batch * sizeOf(sizes)) return undefined;
  const shape = bothRows ? sizes.slice(0, 1) : sizes;
  const inputs = [a, b].map(({ value }) => (bothRows ? value : asMaps(context, value)));
  const equal = inputs.every((input) => sameShape(input.shape, shape));
  if (kind === 'add' && equal) return { value: sum(context, inputs), axes: fitting };
  const op: StepOp = { kind: 'binary', name: kind };
  const value = context.emit({ op, inputs, shape, field: mergedField(inputs) });
  return { value, axes: fitting };
}

/** x kind constant, or constant kind x. */
export function withConstant(
  context: NodeContext,
  kind: BinaryKind,
  given: View,
  constant: Constant,
  constantFirst = false,
): View {
  const x = enlarged(context, cellsOf(given, context.batch), constant);
  const numbers = spread(context, x.view, constant);
  if (x.shape) {
    const op = { kind: 'binary_constant', name: kind, constantFirst, ...numbers } as const;
    const input = asMaps(context, x.view.value);
    const field = sameShape(input.shape, x.shape) ? input.field : undefined;
    return { ...x.view, value: context.emit({ op, inputs: [input], shape: x.shape, field }) };
  }
  const { shape, data } = numbers;
  const C = x.view.value.shape[0] ?? 1;
  const perChannel = shape[1] === 1 && shape[2] === 1;
  const op = perChannel ? channelOp(kind, data, C, constantFirst) : undefined;
  if (op === 'nothing') return x.view;
  if (op) return apply(context, x.view, op);
  return apply(context, x.view, { kind: 'binary_constant', name: kind, constantFirst, ...numbers });
}

/** The tensor with the axes of size 1 that the constant makes larger, and then the new shape. */
function enlarged(
  context: NodeContext,
  view: View,
  { dims }: Constant,
): { view: View; shape?: number[] } {
  const rank = Math.max(view.axes.length, dims.length);
  const missing = rank - view.axes.length;
  const axes = [...Array.from({ length: missing }, () => []), ...view.axes];
  const sizes = axes.map((_, i) => dims[i - rank + dims.length] ?? 1);
  if (!axes.some((axis, i) => axis.length === 0 && sizes[i] !== 1))
    return { view: { ...view, axes } };
  const order = missing === 0 ? permutationOf(view) : undefined;
  const shape = [0, 1, 2].map((i) => view.value.shape[i] ?? 1);
  const larger = axes.map((axis, i) => {
    const size = sizes[i] ?? 1;
    if (axis.length > 0 || size === 1) return axis;
    const own = order?.[i] ?? 0;
    if (own === 0 || view.value.shape.length === 1) throw unfit(context, view, dims);
    shape[own - 1] = size;
    return whole(own, size);
  });
  return { view: { ...view, axes: larger }, shape };
}

/** The constant in the value's order: [C, H, W] with 1 along what it does not vary with. */
function spread(
  context: NodeContext,
  { value, axes }: View,
  { dims, data }: Constant,
): { shape: [number, number, number]; data: Float32Array } {
  const at = axes.map((_, i) => dims[i - axes.length + dims.length] ?? 1);
  const used = axes.filter((_, i) => at[i] !== 1);
  const fits = axes.every((axis, i) => at[i] === 1 || at[i] === lengthOf(axis));
  if (!fits || used.flat().some(({ axis }) => axis === 0))
    throw unfit(context, { value, axes }, dims);
  const sizes = (axis: number): number => {
    const atoms = axes.flat().filter((atom) => atom.axis === axis);
    const varies = used.flat().some((atom) => atom.axis === axis);
    return varies ? lengthOf(atoms) : 1;
  };
  const shape: [number, number, number] = [sizes(1), sizes(2), sizes(3)];
  const [C, H, W] = shape;
  if (sizeOf(shape) > MAX_SPREAD) {
    throw nodeError(context.node, `at most ${String(MAX_SPREAD)} constants`, shape);
  }
  const result = new Float32Array(C * H * W);
  let i = 0;
  for (let c = 0; c < C; c++) {
    for (let h = 0; h < H; h++) {
      for (let w = 0; w < W; w++) {
        let index = 0;
        axes.forEach((axis, k) => {
          const size = at[k] ?? 1;
          if (size !== 1) index = index * size + indexAlong(axis, [c, h, w]);
        });
        result[i++] = data[index] ?? 0;
      }
    }
  }
  return { shape, data: result };
}

/** The cheapest op for a constant of one number, or one for each channel; undefined: none of these. */
function channelOp(
  kind: BinaryKind,
  data: Float32Array,
  C: number,
  first: boolean,
): StepOp | 'nothing' | undefined {
  const [number = 0] = data;
  const numbers = data.length === C ? data : new Float32Array(C).fill(number);
  const uniform = data.every((one) => one === number);
  const affine = (
    scale: (c: number) => number,
    shift: (c: number) => number,
  ): StepOp | 'nothing' => {
    const [scales, shifts] = [numbers.map(scale), numbers.map(shift)];
    const idle = scales.every((one) => one === 1) && shifts.every((one) => one === 0);
    return idle ? 'nothing' : { kind: 'affine', scale: scales, shift: shifts };
  };
  const none = (): number => 0;
  const one = (): number => 1;
  if (kind === 'add') return affine(one, (c) => c);
  if (kind === 'sub')
    return first
      ? affine(
          () => -1,
          (c) => c,
        )
      : affine(one, (c) => -c);
  if (kind === 'mul') return affine((c) => c, none);
  if (kind === 'div' && !first) return affine((c) => 1 / c, none);
  if (!uniform) return undefined;
  if (kind === 'div') return number === 1 ? { kind: 'activation', name: 'reciprocal' } : undefined;
  if (kind === 'max') return clipOp(number, Infinity);
  if (kind === 'min') return clipOp(-Infinity, number);
  return first ? undefined : powerOp(number);
}

/** Clip; nothing for open limits, and ReLU for (0, infinity). */
export function clipOp(lo: number, hi: number): StepOp | 'nothing' {
  const open = (limit: number): boolean => Math.abs(limit) >= 3.4e38;
  if (open(lo) && open(hi)) return 'nothing';
  if (lo === 0 && open(hi)) return { kind: 'relu' };
  return { kind: 'clip', lo, hi };
}

function powerOp(exponent: number): StepOp | 'nothing' {
  if (exponent === 1) return 'nothing';
  const names = new Map([
    [2, 'square'],
    [0.5, 'sqrt'],
    [-1, 'reciprocal'],
  ] as const);
  const name = names.get(exponent as 2);
  if (name) return { kind: 'activation', name };
  return { kind: 'activation', name: 'power', alpha: exponent };
}

function unfit(context: NodeContext, view: View, dims: readonly number[]): Error {
  const shape = shownDims(context, view).join(', ');
  return nodeError(context.node, `a constant that broadcasts to (${shape})`, dims);
}

/** Each channel's number times x plus each channel's number, along the tensor's axis `axis`. */
export function scaleAndShift(
  context: NodeContext,
  view: View,
  { scale, shift, axis }: { scale: Float32Array; shift: Float32Array; axis: number },
): View {
  const x = cellsOf(view, context.batch);
  const dims = x.axes.map((_, i) => (i === axis ? scale.length : 1));
  const [factors, terms] = [scale, shift].map((data) =>
    spread(context, x, { kind: 'float', dims, data }),
  );
  const [C = 1] = x.value.shape;
  if (factors && terms && sameShape(factors.shape, [C, 1, 1])) {
    return apply(context, x, { kind: 'affine', scale: factors.data, shift: terms.data });
  }
  const scaled = withConstant(context, 'mul', x, { kind: 'float', dims, data: scale });
  return withConstant(context, 'add', scaled, { kind: 'float', dims, data: shift });
}
