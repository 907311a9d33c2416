import { sameShape } from '../engine/tensor.js';
import { floatAttribute, intAttribute } from './attributes.js';
import { axisOf } from './fold.js';
import {
  floatsInput,
  mapsInput,
  valueInput,
  vectorInput,
  weightInput,
  type Draft,
  type Lower,
  type NodeContext,
} from './lower_context.js';
import type { Field, NetValue, StepOp } from './network.js';
import { nodeError } from './onnx_error.js';

/** Nodes that act on each element, each channel, or across channels. */
export const LOWER_POINTWISE: Readonly<Record<string, Lower>> = {
  Relu: (context) => like(valueInput(context, 0), { kind: 'relu' }),
  Clip: lowerClip,
  Add: (context) => lowerArithmetic(context, { first: 1, second: 1 }),
  Sub: (context) => lowerArithmetic(context, { first: 1, second: -1 }),
  Mul: (context) => lowerArithmetic(context, 'times'),
  Div: (context) => lowerArithmetic(context, 'over'),
  Sum: lowerSum,
  BatchNormalization: lowerBatchNorm,
  LRN: lowerLrn,
  Softmax: lowerSoftmax,
  Concat: lowerConcat,
};

/** A step that keeps shape and field of its input. */
function like(x: NetValue, op: StepOp): Draft {
  return { op, inputs: [x], shape: x.shape, field: x.field };
}

/** Clip with attributes (to opset 10) or inputs; Clip(0, infinity) is a ReLU. */
function lowerClip(context: NodeContext): Draft | NetValue {
  const { node } = context;
  const x = valueInput(context, 0);
  const bound = (index: number, name: string, open: number): number =>
    node.opset < 11
      ? floatAttribute(node, name, open)
      : (floatsInput(context, index)?.data[0] ?? open);
  const lo = bound(1, 'min', -Infinity);
  const hi = bound(2, 'max', Infinity);
  if (!(lo <= hi)) throw nodeError(node, 'min <= max', [lo, hi]);
  const open = (limit: number): boolean => Math.abs(limit) >= 3.4e38;
  if (open(lo) && open(hi)) return x;
  if (lo === 0 && open(hi)) return like(x, { kind: 'relu' });
  return like(x, { kind: 'clip', lo, hi });
}

type Arithmetic = { first: number; second: number } | 'times' | 'over';

/** Two computed values are added; a constant makes one number for each channel. */
function lowerArithmetic(context: NodeContext, how: Arithmetic): Draft {
  const { node } = context;
  const [a, b] = [context.value(0), context.value(1)];
  if (a && b) {
    if (how !== 'times' && how !== 'over' && how.second === 1) return sum(context, [a, b]);
    throw nodeError(node, 'a second input stored in the model', 'two computed values');
  }
  const x = a ?? valueInput(context, 1);
  const numbers = perChannel(context, x, a ? 1 : 0);
  const ones = new Float32Array(numbers.length).fill(1);
  const zeros = new Float32Array(numbers.length);
  if (how === 'times') return like(x, { kind: 'affine', scale: numbers, shift: zeros });
  if (how === 'over') {
    if (!a) throw nodeError(node, 'a computed first input', 'a constant');
    return like(x, { kind: 'affine', scale: numbers.map((c) => 1 / c), shift: zeros });
  }
  const [signX, signC] = a ? [how.first, how.second] : [how.second, how.first];
  const scale = ones.map((one) => signX * one);
  return like(x, { kind: 'affine', scale, shift: numbers.map((c) => signC * c) });
}

/** Constant input `index` as one number for each channel (feature) of x. */
function perChannel(context: NodeContext, x: NetValue, index: number): Float32Array {
  const { dims, data } = weightInput(context, index);
  const rank = x.shape.length + 1;
  const C = x.shape[0] ?? 1;
  const aligned = [...Array<number>(Math.max(rank - dims.length, 0)).fill(1), ...dims];
  const fits = aligned.every((size, axis) => size === 1 || (axis === 1 && size === C));
  if (aligned.length === rank && fits) {
    return Float32Array.from({ length: C }, (_, c) => data[data.length === 1 ? 0 : c] ?? 0);
  }
  throw nodeError(context.node, `one number, or one for each of ${String(C)} channels`, dims);
}

function lowerSum(context: NodeContext): Draft | NetValue {
  const values = Array.from({ length: context.inputCount }, (_, i) => valueInput(context, i));
  return values.length === 1 ? valueInput(context, 0) : sum(context, values);
}

function sum({ node }: NodeContext, inputs: NetValue[]): Draft {
  const shape = inputs[0]?.shape ?? [];
  if (!inputs.every((input) => sameShape(input.shape, shape))) {
    throw nodeError(
      node,
      'inputs of one shape',
      inputs.map((input) => ['N', ...input.shape]),
    );
  }
  return { op: { kind: 'add' }, inputs, shape, field: mergedField(inputs) };
}

function lowerConcat(context: NodeContext): Draft | NetValue {
  const { node } = context;
  const parts = Array.from({ length: context.inputCount }, (_, i) => mapsInput(context, i));
  const [first] = parts;
  const axis = axisOf(node, intAttribute(node, 'axis', 1), 4);
  if (!first || axis !== 1) throw nodeError(node, 'axis = 1, the channels', axis);
  if (parts.some(({ H, W }) => H !== first.H || W !== first.W)) {
    throw nodeError(
      node,
      'maps of one height and width',
      parts.map(({ x }) => ['N', ...x.shape]),
    );
  }
  if (parts.length === 1) return first.x;
  const inputs = parts.map(({ x }) => x);
  const C = parts.reduce((channels, part) => channels + part.C, 0);
  return {
    op: { kind: 'concat' },
    inputs,
    shape: [C, first.H, first.W],
    field: mergedField(inputs),
  };
}

/** What a cell sees through any of several inputs; undefined when their grids differ. */
function mergedField(inputs: readonly NetValue[]): NetValue['field'] {
  const fields = inputs.flatMap(({ field }) => (field ? [field] : []));
  if (fields.length < inputs.length) return undefined;
  const axis = (index: 0 | 1): Field | undefined => {
    const all = fields.map((field) => field[index]);
    const stride = all[0]?.stride ?? 1;
    if (all.some((field) => field.stride !== stride)) return undefined;
    const first = Math.min(...all.map((field) => field.first));
    return { stride, first, last: Math.max(...all.map((field) => field.last)) };
  };
  const [vertical, horizontal] = [axis(0), axis(1)];
  return vertical && horizontal && [vertical, horizontal];
}

/** y = scale (x - mean) / sqrt(var + epsilon) + b, with the stored statistics. */
function lowerBatchNorm(context: NodeContext): Draft {
  const { node } = context;
  if (intAttribute(node, 'training_mode', 0) !== 0 || intAttribute(node, 'spatial', 1) !== 1) {
    const remedy = 'Export the model after model.eval().';
    throw nodeError(node, 'training_mode = 0 and spatial = 1', [...node.attributes.keys()], remedy);
  }
  if (node.outputs.filter((name) => name !== '').length > 1) {
    const remedy = 'It is in training mode: export the model after model.eval().';
    throw nodeError(node, 'one output', node.outputs, remedy);
  }
  const x = valueInput(context, 0);
  const C = x.shape[0] ?? 1;
  const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((i) => vectorInput(context, i, C));
  const epsilon = floatAttribute(node, 'epsilon', 1e-5);
  const scale = new Float64Array(C).map(
    (_, c) => (gamma?.[c] ?? 1) / Math.sqrt((variance?.[c] ?? 1) + epsilon),
  );
  const shift = scale.map((factor, c) => (beta?.[c] ?? 0) - (mean?.[c] ?? 0) * factor);
  return like(x, {
    kind: 'affine',
    scale: Float32Array.from(scale),
    shift: Float32Array.from(shift),
  });
}

function lowerLrn(context: NodeContext): Draft {
  const { node } = context;
  const { x } = mapsInput(context, 0);
  const size = intAttribute(node, 'size', 0);
  if (size < 1 || size >= 2 ** 31) throw nodeError(node, 'size >= 1', size);
  return like(x, {
    kind: 'lrn',
    size,
    alpha: floatAttribute(node, 'alpha', 1e-4),
    beta: floatAttribute(node, 'beta', 0.75),
    k: floatAttribute(node, 'bias', 1),
  });
}

/** Softmax over the features; before opset 13 the axis said where to flatten. */
function lowerSoftmax(context: NodeContext): Draft {
  const { node } = context;
  const x = valueInput(context, 0);
  const axis = axisOf(
    node,
    intAttribute(node, 'axis', node.opset < 13 ? 1 : -1),
    x.shape.length + 1,
  );
  const vector = x.shape.slice(1).every((size) => size === 1);
  if (vector && axis === 1) return like(x, { kind: 'softmax' });
  throw nodeError(node, 'a softmax over the features of (N, F)', [
    `axis ${String(axis)}`,
    ['N', ...x.shape],
  ]);
}
