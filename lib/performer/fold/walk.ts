import { sizeOf, type Shape } from '../../engine/tensor.js';
import { nodeError } from '../onnx_error.js';
import type { OnnxNode } from '../onnx_model.js';
import { constant, type Constant } from '../onnx_tensor.js';

export type Inputs = readonly (Constant | undefined)[];
/** Computes the outputs of a node whose inputs are all known. */
export type Fold = (node: OnnxNode, inputs: Inputs) => Constant | Constant[];

/** Largest constant that a node may make out of nothing or of smaller ones (elements). */
const MAX_FOLDED = 2 ** 20;

/** An offset that no sum of others makes positive: the element comes from outside. */
const OUTSIDE = -(2 ** 40);

/** Input `index`, which must be there. */
export function need(node: OnnxNode, inputs: Inputs, index: number): Constant {
  const input = inputs[index];
  if (input) return input;
  throw nodeError(node, `at least ${String(index + 1)} inputs`, inputs.length);
}

/** A constant of the type of `x`. */
export function like(x: Constant, dims: Shape, data: ArrayLike<number>): Constant {
  return constant(x.kind, dims, data, x.kind === 'int' ? x.type : undefined);
}

/** Sizes that a node may make out of constants of `from` elements; checked before anything is made. */
export function checkSize(node: OnnxNode, dims: Shape, from = 0): number {
  const most = Math.max(MAX_FOLDED, 4 * from);
  const valid = dims.every((size) => Number.isInteger(size) && size >= 0);
  const count = sizeOf(dims);
  if (valid && count <= most && dims.length <= 16) return count;
  throw nodeError(node, `sizes >= 0 of at most ${String(most)} elements`, dims);
}

/** Elements from one index to the next, for each axis. */
export function stridesOf(dims: Shape): number[] {
  const strides = dims.map(() => 1);
  for (let axis = dims.length - 2; axis >= 0; axis--) {
    strides[axis] = (strides[axis + 1] ?? 1) * (dims[axis + 1] ?? 1);
  }
  return strides;
}

/** Numbers 0 to count - 1. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/**
 * Visits every element of `dims` in row-major order with the sum of what `tables` say for its
 * indices: one table for each axis, as long as the axis.
 */
export function walk(
  dims: Shape,
  tables: readonly (readonly number[])[],
  visit: (offset: number, element: number) => void,
): void {
  const last = dims.length - 1;
  const inner = tables[last] ?? [0];
  const count = sizeOf(dims);
  const index = dims.map(() => 0);
  for (let element = 0; element < count;) {
    let base = 0;
    for (let axis = 0; axis < last; axis++) base += tables[axis]?.[index[axis] ?? 0] ?? 0;
    for (const offset of inner) visit(base + offset, element++);
    for (let axis = last - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      if (next < (dims[axis] ?? 1)) {
        index[axis] = next;
        break;
      }
      index[axis] = 0;
    }
  }
}

/** y[i, j, ...] = x.data[tables[0][i] + tables[1][j] + ...]; negative offsets give `fill`. */
export function collect(
  x: Constant,
  dims: Shape,
  tables: readonly (readonly number[])[],
  fill = 0,
): Constant {
  const source = x.data;
  const data = x.kind === 'float' ? new Float32Array(sizeOf(dims)) : new Float64Array(sizeOf(dims));
  walk(dims, tables, (offset, element) => {
    data[element] = offset < 0 ? fill : (source[offset] ?? 0);
  });
  return like(x, dims, data);
}

/** y[i, j, ...] = x[indices[0][i], indices[1][j], ...]; an index of -1 gives `fill`. */
export function pick(
  node: OnnxNode,
  x: Constant,
  indices: readonly (readonly number[])[],
  fill = 0,
): Constant {
  const strides = stridesOf(x.dims);
  const dims = indices.map((list) => list.length);
  checkSize(node, dims, x.data.length);
  const tables = indices.map((list, axis) =>
    list.map((index) => (index < 0 ? OUTSIDE : index * (strides[axis] ?? 1))),
  );
  return collect(x, dims, tables, fill);
}

/** Tables that read a constant of `from` sizes under the sizes `dims` that it broadcasts to. */
export function broadcastTables(from: Shape, dims: Shape): number[][] {
  const strides = stridesOf(from);
  return dims.map((size, axis) => {
    const own = axis - dims.length + from.length;
    const stride = (from[own] ?? 1) === 1 ? 0 : (strides[own] ?? 0);
    return Array.from({ length: size }, (_, i) => i * stride);
  });
}
