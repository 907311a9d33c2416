import type { LeafOptions, Value } from '../engine/graph.js';
import {
  activation,
  add,
  affine,
  asMaps,
  avgpool2d,
  binary,
  channelNorm,
  clip,
  concat,
  conv2d,
  depthwiseConv2d,
  flatten,
  gatherChannels,
  groupedConv2d,
  groupNorm,
  linear,
  lrn,
  maxpool2d,
  pad2d,
  prelu,
  relu,
  resize2d,
  sliceMaps,
  softmax,
} from '../engine/ops/index.js';
import type { Shape } from '../engine/tensor.js';
import type { Fused } from './fusion.js';
import type { BinaryConstantOp, ConvOp, LinearOp, ResizeTable, StepOp } from './network.js';

/** Makes a parameter of the step, with its values. */
export type Parameter = (
  name: string,
  shape: Shape,
  data: Float32Array | Int32Array,
  options?: LeafOptions,
) => Value;

/** The ops of one step; undefined without inputs, and for what only onnxruntime computes. */
export function addStep(
  { op, relu: rectified }: Fused,
  inputs: readonly Value[],
  parameter: Parameter,
): Value | undefined {
  const [x, second] = inputs;
  if (!x) return undefined;
  switch (op.kind) {
    case 'conv':
      return addConv(x, op, rectified, parameter);
    case 'linear':
      return addLinear(x, op, rectified, parameter);
    case 'affine': {
      const { scale, shift } = op;
      const numbers = [scale, shift].map((data, i) =>
        parameter(i === 0 ? 'scale' : 'shift', [data.length], data),
      );
      const [factors = x, terms = x] = numbers;
      return affine(x, factors, terms, { relu: rectified });
    }
    case 'prelu':
      return prelu(x, parameter('slope', [op.slope.length], op.slope));
    case 'binary':
      return second && binary(maps(x), maps(second), op.name);
    case 'binary_constant':
      return addConstant(x, op, parameter);
    case 'concat':
      return inputs.slice(1).reduce((all, next) => concat(all, maps(next)), maps(x));
    case 'gather':
      return gatherChannels(maps(x), parameter('index', [op.index.length], op.index));
    case 'resize':
      return resize2d(x, {
        rows: addTable('rows', op.rows, parameter),
        columns: addTable('columns', op.columns, parameter),
      });
    case 'add':
      return inputs.slice(1).reduce(add, x);
    case 'foreign':
      return undefined;
    default:
      return addUnary(x, op);
  }
}

type Unary = Exclude<
  StepOp,
  {
    kind:
      | 'conv'
      | 'linear'
      | 'affine'
      | 'prelu'
      | 'binary'
      | 'binary_constant'
      | 'concat'
      | 'gather'
      | 'resize'
      | 'add'
      | 'foreign';
  }
>;

/** Ops of one input and no parameters. */
function addUnary(x: Value, op: Unary): Value {
  switch (op.kind) {
    case 'relu':
      return relu(x);
    case 'clip':
      return clip(x, op);
    case 'activation': {
      const { name, alpha, beta } = op;
      return activation(x, name, {
        ...(alpha === undefined ? {} : { alpha }),
        ...(beta === undefined ? {} : { beta }),
      });
    }
    case 'maxpool':
      return maxpool2d(x, op);
    case 'avgpool':
      return avgpool2d(x, op);
    case 'pad':
      return pad2d(x, op);
    case 'slice':
      return sliceMaps(maps(x), op);
    case 'flatten':
      return flatten(x);
    case 'as_maps':
      return maps(x);
    case 'lrn':
      return lrn(x, op);
    case 'channel_norm':
      return channelNorm(x, op);
    case 'group_norm':
      return groupNorm(maps(x), op);
    case 'softmax':
      return softmax(flatten(x));
  }
}

function maps(x: Value): Value {
  return x.layout === 'rows' ? asMaps(x) : x;
}

function addConv(x: Value, op: ConvOp, rectified: boolean, parameter: Parameter): Value {
  const { weight, weightShape, bias, stride, pad, dilation, groups } = op;
  const w = parameter('weight', weightShape, weight, { layout: 'conv_weight' });
  const b = bias && parameter('bias', [bias.length], bias);
  const options = { stride, pad, dilation, relu: rectified };
  if (groups === 1) return conv2d(x, w, b, options);
  const depthwise = groups === x.shape[1] && groups === weightShape[0];
  return depthwise
    ? depthwiseConv2d(x, w, b, options)
    : groupedConv2d(x, w, b, { ...options, groups });
}

function addLinear(x: Value, op: LinearOp, rectified: boolean, parameter: Parameter): Value {
  const { weight, outSize, inSize, bias } = op;
  const options = { layout: 'linear_weight', chw: x.chw } as const;
  const w = parameter('weight', [outSize, inSize], weight, options);
  const b = bias && parameter('bias', [bias.length], bias);
  return linear(x, w, b, { relu: rectified });
}

function addConstant(x: Value, op: BinaryConstantOp, parameter: Parameter): Value {
  const constant = parameter('constant', [1, ...op.shape], op.data, { layout: 'maps' });
  const value = maps(x);
  return op.constantFirst ? binary(constant, value, op.name) : binary(value, constant, op.name);
}

function addTable(
  name: string,
  { low, high, share }: ResizeTable,
  parameter: Parameter,
): { low: Value; high: Value; share: Value } {
  return {
    low: parameter(`${name}.low`, [low.length], low),
    high: parameter(`${name}.high`, [high.length], high),
    share: parameter(`${name}.share`, [share.length], share),
  };
}
