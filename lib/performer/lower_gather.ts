import { sizeOf } from '../engine/tensor.js';
import { intAttribute } from './attributes.js';
import { axisOf } from './fold.js';
import { binary, withConstant } from './lower_arithmetic.js';
import { cellsOf, viewInput, type Lower, type NodeContext } from './lower_context.js';
import { restrided, select } from './lower_slice.js';
import { nodeError } from './onnx_error.js';
import { constant, type Constant } from './onnx_tensor.js';
import { isWhole, type View } from './view.js';

/** Nodes that take elements by places and masks that the model stores. */
export const LOWER_GATHER: Readonly<Record<string, Lower>> = {
  GatherND: lowerGatherNd,
  Where: lowerWhere,
};

/**
 * Cells of the first axes by lists of places, where each of these axes is taken by a part of the list's
 * own axes, as in x[:, :, rows[:, :, None, None], columns] (adaptive pooling of PyTorch's exporter).
 */
function lowerGatherNd(context: NodeContext): View {
  const { node, batch } = context;
  const x = cellsOf(viewInput(context, 0), batch);
  const indices = context.constant(1);
  const count = indices?.dims.at(-1) ?? 0;
  const own = x.axes.slice(0, count).map((atoms) => atoms[0]?.axis ?? 0);
  const wholes = own.every((axis, i) => axis > 0 && isWhole(x, x.axes[i] ?? [], axis));
  if (!indices || !wholes || count < 1 || intAttribute(node, 'batch_dims', 0) !== 0) {
    throw nodeError(node, 'places of channels, rows or columns known at load', indices?.dims);
  }
  const grid = indices.dims.slice(0, -1);
  const lists = own.map((axis, j) => {
    const along = grid.map((size, d) => (size > 1 && turns(indices, d) === j ? size : 1));
    const size = x.value.shape[axis - 1] ?? 1;
    const list = places(indices, along, j).map((place) => axisOf(node, place, size));
    return { axis, along, list };
  });
  if (!isGrid(indices, lists)) {
    throw nodeError(node, 'a grid of rows and columns', indices.dims);
  }
  const value = lists.reduce((from, { axis, list }) => select(context, from, axis, list), x.value);
  const atoms = lists.map(({ axis, along }) =>
    restrided(along.map((size) => ({ axis, size, stride: 1 }))),
  );
  const front = grid.map((_, d) =>
    atoms.flatMap((list) => list[d] ?? []).filter(({ size }) => size > 1),
  );
  return { value, axes: [...front, ...x.axes.slice(count)] };
}

/** Strides of a list of places along its axes, the last one (which place) left out. */
function stridesOf({ dims }: Constant): number[] {
  return dims.slice(0, -1).map((_, d) => sizeOf(dims.slice(d + 1)));
}

/** Which of the places changes along axis `d` of the list. */
function turns(indices: Constant, d: number): number {
  const count = indices.dims.at(-1) ?? 1;
  const stride = stridesOf(indices)[d] ?? 0;
  const size = indices.dims[d] ?? 1;
  for (let j = 0; j < count; j++) {
    for (let i = 1; i < size; i++) {
      if (indices.data[i * stride + j] !== indices.data[j]) return j;
    }
  }
  return 0;
}

/** Place `j` at every point of the list's axes that have a size in `along`. */
function places(indices: Constant, along: readonly number[], j: number): number[] {
  const strides = stridesOf(indices);
  return along
    .reduce<number[]>(
      (all, size, d) =>
        all.flatMap((base) => Array.from({ length: size }, (_, i) => base + i * (strides[d] ?? 0))),
      [j],
    )
    .map((at) => indices.data[at] ?? 0);
}

function isGrid(indices: Constant, lists: readonly { along: number[]; list: number[] }[]): boolean {
  const count = indices.dims.at(-1) ?? 1;
  const strides = stridesOf(indices);
  return indices.data.every((place, at) => {
    const { along, list } = lists[at % count] ?? { along: [], list: [] };
    const point = along.reduce((index, size, d) => {
      const digit = Math.floor(at / (strides[d] ?? 1)) % (indices.dims[d] ?? 1);
      return size > 1 ? index * size + digit : index;
    }, 0);
    return list[point] === place;
  });
}

/** One of two tensors at each element, by a mask known at load. */
function lowerWhere(context: NodeContext): View {
  const { node } = context;
  const mask = context.constant(0);
  if (!mask) throw nodeError(node, 'a condition known at load', 'one that depends on the image');
  const part = (index: number, keeps: boolean): View | Constant => {
    const keep = mask.data.map((bit) => Number((bit !== 0) === keeps));
    const view = context.view(index);
    if (view) return withConstant(context, 'mul', view, constant('float', mask.dims, keep));
    const given = context.constant(index);
    if (!given) throw nodeError(node, `input ${String(index)}`, 'nothing');
    if (given.data.length !== 1) {
      throw nodeError(node, 'a single number beside a computed value', given.dims);
    }
    const [number = 0] = given.data;
    return constant(
      'float',
      mask.dims,
      keep.map((bit) => (bit === 1 ? number : 0)),
    );
  };
  const [x, y] = [part(1, true), part(2, false)];
  if ('axes' in x)
    return 'axes' in y ? binary(context, 'add', x, y) : withConstant(context, 'add', x, y);
  if ('axes' in y) return withConstant(context, 'add', y, x);
  throw nodeError(node, 'a computed value', 'constants');
}
