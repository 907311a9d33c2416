import { expected } from '../errors.js';

/** Sizes of a tensor, outermost first. `[]` is a scalar. */
export type Shape = readonly number[];
/** Element type: 32-bit float or 32-bit integer (labels, positions, seeds). */
export type DType = 'f32' | 'i32';
/** Host memory of a tensor, row-major. */
export type TensorData = Float32Array | Int32Array;

/**
 * What a tensor is for; the bytes behind it are the backend's business. Values cross `write` and
 * `read` in row-major order: maps NCHW, conv_weight OIHW, linear_weight (out, in).
 */
export type Layout = (typeof LAYOUTS)[number];

/** In the order of `PlLayout` (native/backend.h). A picture is what a plan makes of some maps. */
export const LAYOUTS = ['rows', 'maps', 'conv_weight', 'linear_weight', 'picture'] as const;

/** Sizes (C, H, W) behind a flattened feature axis. */
export type Chw = readonly [number, number, number];

export interface ValueType {
  shape: Shape;
  dtype: DType;
  layout: Layout;
  /** The last axis of rows or of a linear weight is a flattened (C, H, W). */
  chw: Chw | undefined;
}

/** A tensor on the host: row-major values (NCHW for maps, OIHW for convolution weights). */
export interface Tensor {
  shape: Shape;
  data: TensorData;
}

/** Number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** `(32, 256, 14, 14)`. */
export function showShape(shape: Shape): string {
  return `(${shape.join(', ')})`;
}

/** True when both shapes have the same rank and sizes. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** Elements that a backend can still round up to blocks of 16 and count as int. */
const MOST_ELEMENTS = 2 ** 31 - 16;

/** Throws `E_SHAPE` unless every size is a positive integer and the whole fits 2^31 - 16 elements. */
export function checkShape(shape: Shape, name: string, op?: string): void {
  const valid =
    shape.length <= 4 &&
    shape.every((size) => Number.isInteger(size) && size >= 1) &&
    sizeOf(shape) <= MOST_ELEMENTS;
  if (!valid) {
    throw expected('a shape of at most 4 positive integers', name, shape, {
      code: 'E_SHAPE',
      ...(op === undefined ? {} : { op }),
    });
  }
}

/** Throws `E_DTYPE` or `E_SHAPE` unless `data` holds exactly the elements of `shape`. */
export function checkData(data: TensorData, shape: Shape, dtype: DType, name: string): void {
  const wanted = dtype === 'f32' ? Float32Array : Int32Array;
  if (!(data instanceof wanted))
    throw expected(`a ${wanted.name}`, name, data, { code: 'E_DTYPE' });
  if (data.length !== sizeOf(shape)) {
    throw expected(`${String(sizeOf(shape))} values of shape ${showShape(shape)}`, name, data, {
      code: 'E_SHAPE',
    });
  }
}
