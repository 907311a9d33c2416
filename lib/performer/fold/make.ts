import { sizeOf, type Shape } from '../../engine/tensor.js';
import {
  floatAttribute,
  floatsAttribute,
  intAttribute,
  intsAttribute,
  tensorAttribute,
} from '../attributes.js';
import { nodeError } from '../onnx_error.js';
import { DataType } from '../onnx_proto.js';
import type { OnnxNode } from '../onnx_model.js';
import { constant, intConstant, type Constant } from '../onnx_tensor.js';
import { axesOf, axisOf, shapeOf } from './dims.js';
import { roundHalfEven } from './elementwise.js';
import { checkSize, like, need, stridesOf, upTo, walk, type Fold, type Inputs } from './walk.js';

/** Ops that make constants, count, reduce or quantise them. */
export const MAKES: Readonly<Record<string, Fold>> = {
  Constant: foldConstant,
  Identity: (node, inputs) => need(node, inputs, 0),
  Dropout: (node, inputs) => need(node, inputs, 0),
  Shape: (node, inputs) => shapeOf(node, need(node, inputs, 0).dims),
  Size: (node, inputs) => intConstant([need(node, inputs, 0).data.length], []),
  ConstantOfShape(node, inputs) {
    const dims = [...need(node, inputs, 0).data];
    const value = tensorAttribute(node, 'value') ?? constant('float', [1], [0]);
    return like(value, dims, new Float64Array(checkSize(node, dims)).fill(value.data[0] ?? 0));
  },
  Range(node, inputs) {
    const [start, limit, delta] = [0, 1, 2].map((i) => need(node, inputs, i).data[0] ?? NaN);
    const count = Math.max(0, Math.ceil(((limit ?? 0) - (start ?? 0)) / (delta ?? 1)));
    checkSize(node, [count]);
    return like(
      need(node, inputs, 0),
      [count],
      upTo(count).map((i) => (start ?? 0) + i * (delta ?? 1)),
    );
  },
  NonZero: foldNonZero,
  ReduceSum: reduce(0, (sum, x) => sum + x),
  ReduceMean: reduce(
    0,
    (sum, x) => sum + x,
    (sum, count, whole) => (whole ? Math.trunc(sum / count) : sum / count),
  ),
  ReduceProd: reduce(1, (product, x) => product * x),
  ReduceMax: reduce(-Infinity, Math.max),
  ReduceMin: reduce(Infinity, Math.min),
  ReduceL1: reduce(0, (sum, x) => sum + Math.abs(x)),
  ReduceSumSquare: reduce(0, (sum, x) => sum + x * x),
  ReduceL2: reduce(0, (sum, x) => sum + x * x, Math.sqrt),
  QuantizeLinear: foldQuantize,
  DequantizeLinear: foldDequantize,
};

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

/** Indices of what is not 0: (rank, count), a scalar counts as one axis. */
function foldNonZero(node: OnnxNode, inputs: Inputs): Constant {
  const { dims, data } = need(node, inputs, 0);
  const found = upTo(data.length).filter((i) => data[i] !== 0);
  const sizes = dims.length === 0 ? [1] : dims;
  const strides = stridesOf(sizes);
  checkSize(node, [sizes.length, found.length], data.length);
  const rows = sizes.map((size, axis) =>
    found.map((i) => Math.floor(i / (strides[axis] ?? 1)) % size),
  );
  return constant('int', [sizes.length, found.length], rows.flat());
}

function reduce(
  start: number,
  step: (sum: number, x: number) => number,
  end: (sum: number, count: number, whole: boolean) => number = (sum) => sum,
): Fold {
  return (node, inputs) => {
    const x = need(node, inputs, 0);
    const rank = x.dims.length;
    const given = axesOf(node, inputs[1]) ?? [];
    const all = intAttribute(node, 'noop_with_empty_axes', 0) === 0 ? upTo(rank) : [];
    const axes = given.length === 0 ? all : given.map((axis) => axisOf(node, axis, rank));
    const gone = new Set(axes);
    const kept = x.dims.map((size, axis) => (gone.has(axis) ? 1 : size));
    const strides = stridesOf(kept);
    const sums = new Float64Array(sizeOf(kept)).fill(start);
    const tables = x.dims.map((size, axis) =>
      upTo(size).map((i) => (gone.has(axis) ? 0 : i * (strides[axis] ?? 0))),
    );
    walk(x.dims, tables, (at, i) => (sums[at] = step(sums[at] ?? 0, x.data[i] ?? 0)));
    const count = x.data.length / Math.max(sums.length, 1);
    const keep = intAttribute(node, 'keepdims', 1) !== 0;
    const dims = keep ? kept : x.dims.filter((_, axis) => !gone.has(axis));
    return like(
      x,
      dims,
      sums.map((sum) => end(sum, count, x.kind === 'int')),
    );
  };
}

/** Smallest and largest value of the quantised types. */
export const QUANTISED: Readonly<Record<number, readonly [number, number]>> = {
  [DataType.UINT8]: [0, 255],
  [DataType.INT8]: [-128, 127],
  [DataType.UINT16]: [0, 65535],
  [DataType.INT16]: [-32768, 32767],
};

function foldQuantize(node: OnnxNode, inputs: Inputs): Constant {
  const [x, scale, zero] = [need(node, inputs, 0), need(node, inputs, 1), inputs[2]];
  const asked = intAttribute(node, 'output_dtype', 0);
  const known = zero?.kind === 'int' ? zero.type : undefined;
  const type = known ?? (asked === 0 ? DataType.UINT8 : asked);
  const range = QUANTISED[type];
  if (!range) throw nodeError(node, 'a quantised type of 8 or 16 bits', `type ${String(type)}`);
  const data = new Float64Array(x.data.length);
  walk(x.dims, scaleTables(node, x, scale), (at, i) => {
    const whole = roundHalfEven((x.data[i] ?? 0) / (scale.data[at] ?? 1)) + (zero?.data[at] ?? 0);
    data[i] = Math.min(Math.max(whole, range[0]), range[1]);
  });
  return constant('int', x.dims, data, type);
}

function foldDequantize(node: OnnxNode, inputs: Inputs): Constant {
  const [x, scale, zero] = [need(node, inputs, 0), need(node, inputs, 1), inputs[2]];
  const data = new Float32Array(x.data.length);
  walk(x.dims, scaleTables(node, x, scale), (at, i) => {
    data[i] = ((x.data[i] ?? 0) - (zero?.data[at] ?? 0)) * (scale.data[at] ?? 1);
  });
  return constant('float', x.dims, data);
}

/** Where each element of `x` finds its scale: one for all, one along `axis`, or one for a block. */
function scaleTables(node: OnnxNode, x: Constant, scale: Constant): number[][] {
  const flat = (dims: Shape): number[][] => dims.map((size) => upTo(size).map(() => 0));
  if (scale.data.length === 1 && scale.dims.length < 2) return flat(x.dims);
  const axis = axisOf(node, intAttribute(node, 'axis', 1), x.dims.length);
  const block = intAttribute(node, 'block_size', 0);
  const size = x.dims[axis] ?? 0;
  if (block === 0 && scale.dims.length === 1 && scale.data.length === size) {
    return x.dims.map((length, i) => upTo(length).map((k) => (i === axis ? k : 0)));
  }
  const wanted = x.dims.map((length, i) => (i === axis ? Math.ceil(length / block) : length));
  if (block > 0 && wanted.join() === scale.dims.join()) {
    const strides = stridesOf(scale.dims);
    return x.dims.map((length, i) =>
      upTo(length).map((k) => (i === axis ? Math.floor(k / block) : k) * (strides[i] ?? 0)),
    );
  }
  throw nodeError(node, `one scale, or one for each of ${String(size)}`, scale.dims);
}
