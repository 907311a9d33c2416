import { sizeOf, type Shape } from '../../engine/tensor.js';
import { intAttribute, intsAttribute } from '../attributes.js';
import { nodeError } from '../onnx_error.js';
import type { OnnxNode } from '../onnx_model.js';
import { intConstant, type Constant } from '../onnx_tensor.js';

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

/** Axes of Squeeze, Unsqueeze and the Reduce ops: an attribute, in later opsets an input. */
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

/** Sizes after Flatten, whose axis may be the rank itself; negative ones count from the end. */
export function flattenDims(node: OnnxNode, dims: Shape): number[] {
  const given = intAttribute(node, 'axis', 1);
  const axis = given === dims.length ? given : axisOf(node, given, dims.length);
  return [sizeOf(dims.slice(0, axis)), sizeOf(dims.slice(axis))];
}

/** Sizes of several shapes under NumPy's broadcasting. */
export function broadcastDims(node: OnnxNode, shapes: readonly Shape[]): number[] {
  const rank = shapes.reduce((most, { length }) => Math.max(most, length), 0);
  return Array.from({ length: rank }, (_, axis) => {
    let size = 1;
    for (const dims of shapes) {
      const own = dims[axis - rank + dims.length] ?? 1;
      if (own === 1) continue;
      if (size !== 1 && size !== own) {
        throw nodeError(node, 'shapes that broadcast to one', shapes);
      }
      size = own;
    }
    return size;
  });
}

/** The sizes of slices `[first, first + step, ...]` of one axis, as ONNX clamps them. */
export function sliceIndices(size: number, start: number, end: number, step: number): number[] {
  const from = start < 0 ? start + size : start;
  const to = end < 0 ? end + size : end;
  const clamp = (value: number, low: number, high: number): number =>
    Math.min(Math.max(value, low), high);
  const indices: number[] = [];
  if (step > 0) {
    const stop = clamp(to, 0, size);
    for (let i = clamp(from, 0, size); i < stop; i += step) indices.push(i);
  } else {
    const stop = clamp(to, -1, size - 1);
    for (let i = clamp(from, 0, size - 1); i > stop; i += step) indices.push(i);
  }
  return indices;
}

/** Sizes of the pieces of a Split, from its attribute, its input or the number of pieces. */
export function splitSizes(
  node: OnnxNode,
  size: number,
  input: Constant | undefined,
): readonly number[] {
  const given = input ? [...input.data] : intsAttribute(node, 'split');
  const count = given?.length ?? intAttribute(node, 'num_outputs', node.outputs.length);
  const each = Math.ceil(size / count);
  const even = Array.from({ length: count }, (_, i) => Math.min(each, size - i * each));
  const sizes = given ?? even;
  const whole = sizes.every((one) => Number.isInteger(one) && one >= 0);
  if (whole && count >= 1 && sizes.reduce((sum, one) => sum + one, 0) === size) return sizes;
  throw nodeError(node, `pieces of ${String(size)} in all`, sizes);
}
