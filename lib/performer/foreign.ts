import { sizeOf, type Shape } from '../engine/tensor.js';
import type { Draft } from './lower_context.js';
import type { Field, NetValue, Network } from './network.js';
import { PartlensError } from '../errors.js';
import { whole, type View } from './view.js';

/** Sizes of a file's tensors with the images, by name: onnxruntime's, for what is not lowered here. */
export type TensorSizes = ReadonlyMap<string, readonly number[]>;

/** Ops whose refusal is meant: in training mode they make an image depend on the others of its batch. */
const NEVER = new Set(['BatchNormalization', 'Dropout']);

/** True where a node that was refused may be left to onnxruntime. */
export function isForeign({ opType }: { opType: string }, error: unknown): boolean {
  return error instanceof PartlensError && error.code === 'E_ONNX' && !NEVER.has(opType);
}

/**
 * A value that the engine has no op for. Its sizes are onnxruntime's: four axes are maps, in the order of an
 * input of the same sizes or else channels first; others are vectors. Where the first axis is not the
 * images it has no axes: such a value is wiring, and nothing can be cut there.
 */
export function foreignValue(
  dims: readonly number[] | undefined,
  inputs: readonly View[],
  batch: number,
): { draft: Omit<Draft, 'inputs'>; axes: View['axes'] } {
  const op = { kind: 'foreign' } as const;
  if (!dims || dims.length === 0 || dims[0] !== batch) {
    return { draft: { op, shape: [1], field: undefined }, axes: [] };
  }
  const rest = dims.slice(1);
  if (rest.length !== 3) {
    const shape = [sizeOf(rest)];
    return { draft: { op, shape, field: undefined }, axes: rowAxes(rest, batch) };
  }
  const order = orderOf(rest, inputs);
  const shape = order.map((_, axis) => rest[order.indexOf(axis)] ?? 1);
  return {
    draft: { op, shape, field: fieldOf(shape, inputs) },
    axes: [whole(0, batch), ...order.map((axis) => whole(axis + 1, shape[axis] ?? 1))],
  };
}

/** Axes of a tensor whose elements are the features of a vector. */
function rowAxes(dims: Shape, batch: number): View['axes'] {
  return [
    whole(0, batch),
    ...dims.map((size, i) =>
      size === 1 ? [] : [{ axis: 1, size, stride: sizeOf(dims.slice(i + 1)) }],
    ),
  ];
}

/** Which of channels, rows and columns each axis after the images is. */
function orderOf(dims: readonly number[], inputs: readonly View[]): readonly number[] {
  const alike = inputs.find(({ value, axes }) => {
    const order = value.axes?.slice(1).map((axis) => axis - 1) ?? [];
    const sizes = order.map((axis) => value.shape[axis]);
    return axes.length === 4 && sizes.length === 3 && sizes.every((size, i) => size === dims[i]);
  });
  return alike?.value.axes?.slice(1).map((axis) => axis - 1) ?? [0, 1, 2];
}

/** Cells that lie evenly over those of the first input: exact for functions, centred for resizing. */
function fieldOf([, height = 1, width = 1]: Shape, inputs: readonly View[]): NetValue['field'] {
  const first = inputs.find(({ value }) => value.field)?.value;
  if (!first?.field) return undefined;
  const [, rows = 1, columns = 1] = first.shape;
  const [y, x] = first.field;
  return [spread(y, rows, height), spread(x, columns, width)];
}

function spread(field: Field, from: number, to: number): Field {
  const stride = (field.stride * from) / to;
  const shift = (stride - field.stride) / 2;
  return { stride, first: field.first + shift, last: field.last + shift };
}

/** True where a program may begin or end: onnxruntime knows tensors of the file alone. */
export function isCuttable({ input, foreign }: Network, value: NetValue): boolean {
  if (!foreign || value === input) return true;
  const [images, ...dims] = foreign.sizes.get(value.name) ?? [];
  const isWhole = images === foreign.batch && sizeOf(dims) === sizeOf(value.shape);
  return value.axes !== undefined && isWhole;
}
