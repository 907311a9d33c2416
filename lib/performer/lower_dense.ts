import { sizeOf } from '../engine/tensor.js';
import { floatAttribute, intAttribute } from './attributes.js';
import {
  shownDims,
  viewInput,
  weightInput,
  type Lower,
  type NodeContext,
} from './lower_context.js';
import { WHOLE_AXIS } from './lower_window.js';
import type { NetValue } from './network.js';
import { nodeError } from './onnx_error.js';
import { indexAlong, isVector, lengthOf, lifted, whole, type Atom, type View } from './view.js';

/** Fully connected nodes. */
export const LOWER_DENSE: Readonly<Record<string, Lower>> = {
  Gemm: lowerGemm,
  MatMul: (context) => dense(context, { transposed: false, alpha: 1, bias: () => undefined }),
};

interface DenseOptions {
  /** W is (out, in) already. */
  transposed: boolean;
  alpha: number;
  bias: (outSize: number) => Float32Array | undefined;
}

function lowerGemm(context: NodeContext): View {
  const { node } = context;
  if (intAttribute(node, 'transA', 0) !== 0) {
    const remedy = 'The first input holds one image a row; transposed it would mix the images.';
    throw nodeError(node, 'transA = 0', 1, remedy);
  }
  const transposed = intAttribute(node, 'transB', 0) !== 0;
  const hasBias = context.constant(2) !== undefined || context.view(2) !== undefined;
  const beta = floatAttribute(node, 'beta', 1);
  return dense(context, {
    transposed,
    alpha: floatAttribute(node, 'alpha', 1),
    bias: (outSize) => (hasBias ? biasOf(context, outSize, beta) : undefined),
  });
}

/**
 * y = alpha x W along the last axis of the tensor: a linear layer where that axis holds all of an
 * image, a 1 x 1 convolution where it holds the channels. The weight's columns are put into the
 * order in which the value lies.
 */
function dense(context: NodeContext, options: DenseOptions): View {
  const { node } = context;
  const x = lifted(viewInput(context, 0), context.batch);
  const last = x.axes.at(-1) ?? [];
  const inSize = lengthOf(last);
  const { weight: given, outSize } = weightOf(context, inSize, options);
  const bias = options.bias(outSize);
  const axes = [...x.axes.slice(0, -1), whole(1, outSize)];
  const [C = 1, H = 1, W = 1] = x.value.shape;
  const ofImage = last.every(({ axis }) => axis !== 0);
  const rows = x.value.shape.length === 1 || isVector(x, context.batch);
  if (ofImage && inSize === sizeOf(x.value.shape) && (rows || H * W > 1)) {
    const input = context.flatten(x.value);
    const weight = ordered(given, { outSize, inSize }, last, x.value);
    const op = { kind: 'linear', weight, outSize, inSize, bias } as const;
    return {
      value: context.emit({ op, inputs: [input], shape: [outSize], field: undefined }),
      axes,
    };
  }
  if (ofImage && inSize === C && last.every(({ axis }) => axis === 1) && x.axes.length > 1) {
    const weight = ordered(given, { outSize, inSize }, last, x.value);
    const weightShape = [outSize, C, 1, 1] as const;
    const window = { ...WHOLE_AXIS, kernel: [1, 1] as const };
    const op = { kind: 'conv', weight, weightShape, bias, groups: 1, ...window } as const;
    const shape = [outSize, H, W];
    return { value: context.emit({ op, inputs: [x.value], shape, field: x.value.field }), axes };
  }
  throw nodeError(
    node,
    'feature vectors (N, F), or channels along the last axis',
    shownDims(context, x),
  );
}

/** alpha W as (out, in). */
function weightOf(
  context: NodeContext,
  inSize: number,
  { transposed, alpha }: DenseOptions,
): { weight: Float32Array; outSize: number } {
  const { dims, data } = weightInput(context, 1);
  const [first = 0, second = 0] = dims.slice(-2);
  const [outSize, columns] = transposed ? [first, second] : [second, first];
  const flat = dims.length >= 2 && dims.slice(0, -2).every((size) => size === 1);
  if (!flat || columns !== inSize || outSize < 1) {
    throw nodeError(context.node, `weights for x of shape (N, ${String(inSize)})`, dims);
  }
  const straight = transposed ? data : transpose(data, inSize, outSize);
  return { weight: alpha === 1 ? straight : straight.map((w) => alpha * w), outSize };
}

/** Columns that follow the tensor's axis in the order of the value's own elements. */
function ordered(
  weight: Float32Array,
  { outSize, inSize }: { outSize: number; inSize: number },
  axis: readonly Atom[],
  { shape }: NetValue,
): Float32Array {
  const [, H = 1, W = 1] = inSize === shape[0] ? [] : shape;
  const from = Int32Array.from({ length: inSize }, (_, i) =>
    indexAlong(axis, [Math.floor(i / (H * W)), Math.floor(i / W) % H, i % W]),
  );
  if (from.every((column, i) => column === i)) return weight;
  const result = new Float32Array(weight.length);
  for (let o = 0; o < outSize; o++) {
    for (let i = 0; i < inSize; i++)
      result[o * inSize + i] = weight[o * inSize + (from[i] ?? 0)] ?? 0;
  }
  return result;
}

/** beta * C, broadcast to (out). */
function biasOf(context: NodeContext, outSize: number, beta: number): Float32Array {
  const { dims, data } = weightInput(context, 2);
  const last = dims.at(-1) ?? 1;
  const row = dims.length <= 2 && data.length === last && (last === outSize || last === 1);
  if (!row) throw nodeError(context.node, `a bias of shape (${String(outSize)})`, dims);
  return Float32Array.from({ length: outSize }, (_, o) => beta * (data[last === 1 ? 0 : o] ?? 0));
}

/** (rows, columns) to (columns, rows). */
function transpose(data: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j] ?? 0;
  }
  return result;
}
