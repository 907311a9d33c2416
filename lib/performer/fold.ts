import { sizeOf, type Shape } from '../engine/tensor.js';
import {
  floatAttribute,
  floatsAttribute,
  intAttribute,
  intsAttribute,
  tensorAttribute,
} from './attributes.js';
import { nodeError } from './onnx_error.js';
import type { OnnxNode } from './onnx_read.js';
import { constant, intConstant, isFloatType, type Constant } from './onnx_tensor.js';

/** Largest constant that a node may make out of nothing or of smaller ones (elements). */
const MAX_FOLDED = 2 ** 20;

type Inputs = readonly (Constant | undefined)[];
type Fold = (node: OnnxNode, inputs: Inputs) => Constant;

/**
 * Computes a node whose inputs are all constants: what exporters put before a Reshape (Shape, Gather,
 * Concat ...) and around weights (Transpose, Cast, Unsqueeze). Undefined for any other op type.
 */
export function foldNode(node: OnnxNode, inputs: Inputs): Constant | undefined {
  const fold =
    node.domain === '' && Object.hasOwn(FOLDS, node.opType) ? FOLDS[node.opType] : undefined;
  return fold?.(node, inputs);
}

const FOLDS: Readonly<Record<string, Fold>> = {
  Constant: foldConstant,
  Identity: (node, inputs) => need(node, inputs, 0),
  Dropout: (node, inputs) => need(node, inputs, 0),
  Shape: (node, inputs) => shapeOf(node, need(node, inputs, 0).dims),
  Cast: foldCast,
  Gather: foldGather,
  Concat: foldConcat,
  Slice: foldSlice,
  Transpose: foldTranspose,
  ConstantOfShape: foldConstantOfShape,
  Reshape: (node, inputs) => {
    const x = need(node, inputs, 0);
    return withDims(node, x, reshapeDims(node, x.dims, need(node, inputs, 1)));
  },
  Flatten: (node, inputs) => {
    const x = need(node, inputs, 0);
    const axis = axisOf(node, intAttribute(node, 'axis', 1), x.dims.length + 1);
    return withDims(node, x, [sizeOf(x.dims.slice(0, axis)), sizeOf(x.dims.slice(axis))]);
  },
  Squeeze: (node, inputs) => {
    const x = need(node, inputs, 0);
    return withDims(node, x, squeezeDims(node, x.dims, axesOf(node, inputs[1])));
  },
  Unsqueeze: (node, inputs) => {
    const x = need(node, inputs, 0);
    return withDims(node, x, unsqueezeDims(node, x.dims, axesOf(node, inputs[1])));
  },
  Add: elementwise((a, b) => a + b),
  Sub: elementwise((a, b) => a - b),
  Mul: elementwise((a, b) => a * b),
  Div: elementwise((a, b, whole) => (whole ? Math.trunc(a / b) : a / b)),
  Sqrt: (node, inputs) => {
    const x = need(node, inputs, 0);
    return constant(x.kind, x.dims, x.data.map(Math.sqrt));
  },
};

/** The Shape op over sizes `dims`, with `start` and `end` of opset 15. */
export function shapeOf(node: OnnxNode, dims: Shape): Constant {
  const start = intAttribute(node, 'start', 0);
  const end = intAttribute(node, 'end', dims.length);
  return intConstant(dims.slice(start, end));
}

/** Sizes after Reshape: 0 copies (unless `allowzero`), one -1 takes the rest. */
export function reshapeDims(node: OnnxNode, dims: Shape, wanted: Constant): number[] {
  const keepZero = intAttribute(node, 'allowzero', 0) !== 0;
  const asked = [...wanted.data];
  const sizes = asked.map((size, axis) => (size === 0 && !keepZero ? (dims[axis] ?? NaN) : size));
  const open = sizes.indexOf(-1);
  if (open >= 0) {
    sizes[open] = 1;
    sizes[open] = sizeOf(dims) / sizeOf(sizes);
  }
  const whole = sizes.every((size) => Number.isInteger(size) && size >= 0);
  if (whole && sizeOf(sizes) === sizeOf(dims)) return sizes;
  throw nodeError(
    node,
    `a shape for ${String(sizeOf(dims))} elements of (${dims.join(', ')})`,
    asked,
  );
}

/** Axes of Squeeze, Unsqueeze and ReduceMean: an attribute, in later opsets an input. */
export function axesOf(node: OnnxNode, input: Constant | undefined): number[] | undefined {
  return input ? [...input.data] : intsAttribute(node, 'axes');
}

/** Sizes after Squeeze; without axes every 1 goes. */
export function squeezeDims(
  node: OnnxNode,
  dims: Shape,
  axes: readonly number[] | undefined,
): number[] {
  if (!axes) return dims.filter((size) => size !== 1);
  const gone = axes.map((axis) => axisOf(node, axis, dims.length));
  if (gone.some((axis) => dims[axis] !== 1)) {
    throw nodeError(node, `axes of size 1 in (${dims.join(', ')})`, axes);
  }
  return dims.filter((_, axis) => !gone.includes(axis));
}

/** Sizes after Unsqueeze. */
export function unsqueezeDims(
  node: OnnxNode,
  dims: Shape,
  axes: readonly number[] | undefined,
): number[] {
  if (!axes) throw nodeError(node, 'axes', undefined);
  const rank = dims.length + axes.length;
  const added = new Set(axes.map((axis) => axisOf(node, axis, rank)));
  if (added.size !== axes.length) throw nodeError(node, 'axes that differ', axes);
  const rest = [...dims];
  return Array.from({ length: rank }, (_, axis) => (added.has(axis) ? 1 : (rest.shift() ?? 1)));
}

/** An axis from 0 to rank - 1; negative ones count from the end. */
export function axisOf(node: OnnxNode, axis: number, rank: number): number {
  const from = axis < 0 ? axis + rank : axis;
  if (Number.isInteger(from) && from >= 0 && from < rank) return from;
  throw nodeError(node, `an axis from ${String(-rank)} to ${String(rank - 1)}`, axis);
}

function need(node: OnnxNode, inputs: Inputs, index: number): Constant {
  const input = inputs[index];
  if (input) return input;
  throw nodeError(node, `at least ${String(index + 1)} inputs`, inputs.length);
}

function withDims(node: OnnxNode, x: Constant, dims: Shape): Constant {
  if (dims.length > 16) throw nodeError(node, 'at most 16 axes', dims.length);
  return constant(x.kind, dims, x.data);
}

function foldConstant(node: OnnxNode): Constant {
  const tensor = tensorAttribute(node, 'value');
  if (tensor) return tensor;
  const ints = intsAttribute(node, 'value_ints');
  if (ints) return intConstant(ints);
  const floats = floatsAttribute(node, 'value_floats');
  if (floats) return constant('float', [floats.length], floats);
  if (node.attributes.has('value_int'))
    return intConstant([intAttribute(node, 'value_int', 0)], []);
  if (node.attributes.has('value_float')) {
    return constant('float', [], [floatAttribute(node, 'value_float', 0)]);
  }
  throw nodeError(node, 'a value of numbers', [...node.attributes.keys()]);
}

function foldCast(node: OnnxNode, inputs: Inputs): Constant {
  const x = need(node, inputs, 0);
  if (isFloatType(intAttribute(node, 'to', 0))) return constant('float', x.dims, x.data);
  return constant('int', x.dims, Float64Array.from(x.data, Math.trunc));
}

function foldGather(node: OnnxNode, inputs: Inputs): Constant {
  const x = need(node, inputs, 0);
  const indices = need(node, inputs, 1);
  if (x.dims.length !== 1 || indices.dims.length > 1) {
    throw nodeError(node, 'a list and an index or a list of them', [x.dims, indices.dims]);
  }
  const length = x.data.length;
  const taken = Array.from(indices.data, (index) => x.data[axisOf(node, index, length)] ?? 0);
  return constant(x.kind, indices.dims, taken);
}

function foldConcat(node: OnnxNode, inputs: Inputs): Constant {
  const parts = inputs.map((_, index) => need(node, inputs, index));
  const first = need(node, inputs, 0);
  if (parts.some(({ dims, kind }) => dims.length !== 1 || kind !== first.kind)) {
    throw nodeError(
      node,
      'constant lists of one type',
      parts.map(({ dims }) => dims),
    );
  }
  const length = parts.reduce((sum, { data }) => sum + data.length, 0);
  if (length > MAX_FOLDED) {
    throw nodeError(node, `at most ${String(MAX_FOLDED)} elements`, length);
  }
  return constant(
    first.kind,
    [length],
    parts.flatMap(({ data }) => [...data]),
  );
}

function foldSlice(node: OnnxNode, inputs: Inputs): Constant {
  const x = need(node, inputs, 0);
  const list = (index: number, name: string): number[] | undefined => {
    const input = inputs[index];
    return input ? [...input.data] : intsAttribute(node, name);
  };
  const [start = 0] = list(1, 'starts') ?? [];
  const [end = x.data.length] = list(2, 'ends') ?? [];
  const [axis = 0] = list(3, 'axes') ?? [];
  const [step = 1] = list(4, 'steps') ?? [];
  if (x.dims.length !== 1 || axisOf(node, axis, 1) !== 0 || step !== 1) {
    throw nodeError(node, 'a slice of step 1 of a list', [x.dims, axis, step]);
  }
  const data = x.data.slice(start, end);
  return constant(x.kind, [data.length], data);
}

function foldTranspose(node: OnnxNode, inputs: Inputs): Constant {
  const x = need(node, inputs, 0);
  const rank = x.dims.length;
  const perm = intsAttribute(node, 'perm') ?? x.dims.map((_, axis) => rank - 1 - axis);
  if (perm.length !== rank || new Set(perm).size !== rank) {
    throw nodeError(node, `a permutation of ${String(rank)} axes`, perm);
  }
  const strides = x.dims.map((_, axis) => sizeOf(x.dims.slice(axis + 1)));
  const from = perm.map((axis) => strides[axisOf(node, axis, rank)] ?? 0);
  const dims = perm.map((axis) => x.dims[axis] ?? 0);
  const data =
    x.kind === 'float' ? new Float32Array(x.data.length) : new Float64Array(x.data.length);
  const index = dims.map(() => 0);
  for (let i = 0, source = 0; i < data.length; i++) {
    data[i] = x.data[source] ?? 0;
    for (let axis = rank - 1; axis >= 0; axis--) {
      source += from[axis] ?? 0;
      index[axis] = (index[axis] ?? 0) + 1;
      if ((index[axis] ?? 0) < (dims[axis] ?? 0)) break;
      source -= (from[axis] ?? 0) * (dims[axis] ?? 0);
      index[axis] = 0;
    }
  }
  return constant(x.kind, dims, data);
}

function foldConstantOfShape(node: OnnxNode, inputs: Inputs): Constant {
  const dims = [...need(node, inputs, 0).data];
  const value = tensorAttribute(node, 'value') ?? constant('float', [1], [0]);
  return constant(value.kind, dims, filled(node, dims, value.data[0] ?? 0));
}

function filled(node: OnnxNode, dims: Shape, value: number): Float64Array {
  const valid = dims.every((size) => Number.isInteger(size) && size >= 0);
  if (!valid || sizeOf(dims) > MAX_FOLDED) {
    throw nodeError(node, `sizes >= 0 of at most ${String(MAX_FOLDED)} elements`, dims);
  }
  return new Float64Array(sizeOf(dims)).fill(value);
}

function elementwise(f: (a: number, b: number, whole: boolean) => number): Fold {
  return (node, inputs) => {
    const a = need(node, inputs, 0);
    const b = need(node, inputs, 1);
    const whole = a.kind === 'int' && b.kind === 'int';
    const kind = whole ? 'int' : 'float';
    if (a.data.length === 1 || b.data.length === 1 || a.dims.join() === b.dims.join()) {
      const [long, scalarA, scalarB] = [a.data.length >= b.data.length ? a : b, a.data, b.data];
      const at = (data: ArrayLike<number>, i: number): number =>
        data[data.length === 1 ? 0 : i] ?? 0;
      const data = Float64Array.from(long.data, (_, i) => f(at(scalarA, i), at(scalarB, i), whole));
      return constant(kind, long.dims, data);
    }
    throw nodeError(node, 'constants of one shape or a single number', [a.dims, b.dims]);
  };
}
