import { sizeOf } from '../../engine/tensor.js';
import { floatAttribute, intAttribute, intsAttribute, stringAttribute } from '../attributes.js';
import { nodeError } from '../onnx_error.js';
import type { OnnxNode } from '../onnx_model.js';
import type { Constant } from '../onnx_tensor.js';
import {
  axesOf,
  axisOf,
  broadcastDims,
  flattenDims,
  reshapeDims,
  sliceIndices,
  splitSizes,
  squeezeDims,
  unsqueezeDims,
} from './dims.js';
import {
  broadcastTables,
  checkSize,
  collect,
  like,
  need,
  pick,
  stridesOf,
  upTo,
  type Fold,
  type Inputs,
} from './walk.js';

/** Ops that move elements about. */
export const MOVES: Readonly<Record<string, Fold>> = {
  Reshape: (node, inputs) => {
    const x = need(node, inputs, 0);
    return withDims(node, x, reshapeDims(node, x.dims, shapeInput(node, inputs)));
  },
  Flatten: (node, inputs) => {
    const x = need(node, inputs, 0);
    return withDims(node, x, flattenDims(node, x.dims));
  },
  Squeeze: (node, inputs) => {
    const x = need(node, inputs, 0);
    return withDims(node, x, squeezeDims(node, x.dims, axesOf(node, inputs[1])));
  },
  Unsqueeze: (node, inputs) => {
    const x = need(node, inputs, 0);
    return withDims(node, x, unsqueezeDims(node, x.dims, axesOf(node, inputs[1])));
  },
  Transpose: foldTranspose,
  Gather: foldGather,
  Slice: foldSlice,
  Concat: foldConcat,
  Split: foldSplit,
  Expand: (node, inputs) => {
    const x = need(node, inputs, 0);
    const wanted = [...need(node, inputs, 1).data];
    checkSize(node, wanted, x.data.length);
    const dims = broadcastDims(node, [x.dims, wanted]);
    checkSize(node, dims, x.data.length);
    return collect(x, dims, broadcastTables(x.dims, dims));
  },
  Tile: (node, inputs) => {
    const x = need(node, inputs, 0);
    const repeats = [...need(node, inputs, 1).data];
    if (repeats.length !== x.dims.length) {
      throw nodeError(node, `${String(x.dims.length)} repeats`, repeats);
    }
    const dims = x.dims.map((size, axis) => size * (repeats[axis] ?? 1));
    checkSize(node, dims, x.data.length);
    return pick(
      node,
      x,
      dims.map((size, axis) => upTo(size).map((i) => i % (x.dims[axis] ?? 1))),
    );
  },
  Pad: foldPad,
};

function shapeInput(node: OnnxNode, inputs: Inputs): Constant {
  return need(node, inputs, 1);
}

function withDims(node: OnnxNode, x: Constant, dims: readonly number[]): Constant {
  if (dims.length > 16) throw nodeError(node, 'at most 16 axes', dims.length);
  return like(x, dims, x.data);
}

function foldTranspose(node: OnnxNode, inputs: Inputs): Constant {
  const x = need(node, inputs, 0);
  const rank = x.dims.length;
  const perm = intsAttribute(node, 'perm') ?? x.dims.map((_, axis) => rank - 1 - axis);
  if (perm.length !== rank || new Set(perm).size !== rank) {
    throw nodeError(node, `a permutation of ${String(rank)} axes`, perm);
  }
  const strides = stridesOf(x.dims);
  const axes = perm.map((axis) => axisOf(node, axis, rank));
  const dims = axes.map((axis) => x.dims[axis] ?? 0);
  const tables = axes.map((axis) => upTo(x.dims[axis] ?? 0).map((i) => i * (strides[axis] ?? 0)));
  return collect(x, dims, tables);
}

function foldGather(node: OnnxNode, inputs: Inputs): Constant {
  const [x, indices] = [need(node, inputs, 0), need(node, inputs, 1)];
  const axis = axisOf(node, intAttribute(node, 'axis', 0), x.dims.length);
  const size = x.dims[axis] ?? 0;
  const wanted = Array.from(indices.data, (index) => axisOf(node, index, size));
  const dims = [...x.dims.slice(0, axis), ...indices.dims, ...x.dims.slice(axis + 1)];
  const taken = pick(
    node,
    x,
    x.dims.map((length, i) => (i === axis ? wanted : upTo(length))),
  );
  return withDims(node, taken, dims);
}

function foldSlice(node: OnnxNode, inputs: Inputs): Constant {
  const x = need(node, inputs, 0);
  const list = (index: number, name: string): number[] | undefined => {
    const input = inputs[index];
    return input ? [...input.data] : intsAttribute(node, name);
  };
  const starts = list(1, 'starts') ?? [];
  const ends = list(2, 'ends') ?? [];
  const axes = list(3, 'axes') ?? upTo(starts.length);
  const steps = list(4, 'steps') ?? starts.map(() => 1);
  const lengths = [ends.length, axes.length, steps.length];
  if (lengths.some((length) => length !== starts.length) || steps.includes(0)) {
    throw nodeError(node, 'starts, ends, axes and steps of one length', [
      starts,
      ends,
      axes,
      steps,
    ]);
  }
  const indices: number[][] = x.dims.map(upTo);
  for (const [i, given] of axes.entries()) {
    const axis = axisOf(node, given, x.dims.length);
    indices[axis] = sliceIndices(x.dims[axis] ?? 0, starts[i] ?? 0, ends[i] ?? 0, steps[i] ?? 1);
  }
  return pick(node, x, indices);
}

function foldConcat(node: OnnxNode, inputs: Inputs): Constant {
  const parts = inputs.map((_, index) => need(node, inputs, index));
  const first = need(node, inputs, 0);
  const axis = axisOf(node, intAttribute(node, 'axis', 1), first.dims.length);
  const fits = parts.every(
    ({ dims, kind }) =>
      kind === first.kind &&
      dims.length === first.dims.length &&
      dims.every((size, i) => i === axis || size === first.dims[i]),
  );
  if (!fits) {
    throw nodeError(
      node,
      'constants of one type that differ in one axis only',
      parts.map(({ dims }) => dims),
    );
  }
  const joined = parts.reduce((sum, { dims }) => sum + (dims[axis] ?? 0), 0);
  const dims = first.dims.map((size, i) => (i === axis ? joined : size));
  const from = parts.reduce((sum, { data }) => sum + data.length, 0);
  const count = checkSize(node, dims, from);
  const data = first.kind === 'float' ? new Float32Array(count) : new Float64Array(count);
  const row = sizeOf(dims.slice(axis));
  let column = 0;
  for (const part of parts) {
    const length = sizeOf(part.dims.slice(axis));
    for (let at = 0, to = column; at < part.data.length; at += length, to += row) {
      data.set(part.data.subarray(at, at + length), to);
    }
    column += length;
  }
  return like(first, dims, data);
}

function foldSplit(node: OnnxNode, inputs: Inputs): Constant[] {
  const x = need(node, inputs, 0);
  const axis = axisOf(node, intAttribute(node, 'axis', 0), x.dims.length);
  let start = 0;
  return splitSizes(node, x.dims[axis] ?? 0, inputs[1]).map((size) => {
    const from = start;
    start += size;
    return pick(
      node,
      x,
      x.dims.map((length, i) => (i === axis ? upTo(size).map((k) => from + k) : upTo(length))),
    );
  });
}

function foldPad(node: OnnxNode, inputs: Inputs): Constant {
  const x = need(node, inputs, 0);
  const rank = x.dims.length;
  const mode = stringAttribute(node, 'mode', 'constant');
  const pads = node.opset < 11 ? intsAttribute(node, 'pads') : [...need(node, inputs, 1).data];
  const fill = node.opset < 11 ? floatAttribute(node, 'value', 0) : (inputs[2]?.data[0] ?? 0);
  const axes = inputs[3] ? [...inputs[3].data].map((axis) => axisOf(node, axis, rank)) : upTo(rank);
  if (pads?.length !== 2 * axes.length) {
    throw nodeError(node, `${String(2 * axes.length)} pads`, pads);
  }
  const sides = x.dims.map(() => ({ before: 0, after: 0 }));
  for (const [i, axis] of axes.entries()) {
    sides[axis] = { before: pads[i] ?? 0, after: pads[i + axes.length] ?? 0 };
  }
  const dims = x.dims.map(
    (size, axis) => size + (sides[axis]?.before ?? 0) + (sides[axis]?.after ?? 0),
  );
  checkSize(node, dims, x.data.length);
  const indices = dims.map((size, axis) =>
    upTo(size).map((i) =>
      paddedIndex(node, mode, i - (sides[axis]?.before ?? 0), x.dims[axis] ?? 0),
    ),
  );
  return pick(node, x, indices, fill);
}

/** Where Pad takes position `at` of an axis of `size` from; -1 outside under mode `constant`. */
function paddedIndex(node: OnnxNode, mode: string, at: number, size: number): number {
  const inside = at >= 0 && at < size;
  if (inside) return at;
  if (mode === 'constant') return -1;
  if (size === 0) throw nodeError(node, 'an axis that is not empty', size);
  if (mode === 'edge') return at < 0 ? 0 : size - 1;
  if (mode === 'wrap') return ((at % size) + size) % size;
  const mirrored = at < 0 ? -at : 2 * (size - 1) - at;
  if (mode === 'reflect' && mirrored >= 0 && mirrored < size) return mirrored;
  throw nodeError(node, 'mode constant, edge, wrap, or a reflection inside the axis', mode);
}
