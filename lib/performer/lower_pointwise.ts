import { floatAttribute, stringAttribute } from './attributes.js';
import { binary, clipOp, withConstant } from './lower_arithmetic.js';
import {
  apply,
  cellsOf,
  floatsInput,
  viewInput,
  weightInput,
  type Lower,
  type NodeContext,
} from './lower_context.js';
import type { ActivationKind, ActivationOp, StepOp } from './network.js';
import { nodeError } from './onnx_error.js';
import type { View } from './view.js';

/** Nodes that act on each element. */
export const LOWER_POINTWISE: Readonly<Record<string, Lower>> = {
  Relu: (context) => apply(context, viewInput(context, 0), { kind: 'relu' }),
  Clip: lowerClip,
  PRelu: lowerPRelu,
  Gelu: lowerGelu,
  Swish: lowerSwish,
  HardSigmoid: (context) =>
    activated(context, 'hard_sigmoid', {
      alpha: number(context, 'alpha', 0.2),
      beta: number(context, 'beta', 0.5),
    }),
  LeakyRelu: (context) =>
    activated(context, 'leaky_relu', { alpha: number(context, 'alpha', 0.01) }),
  Elu: (context) => activated(context, 'elu', { alpha: number(context, 'alpha', 1) }),
  Celu: (context) => activated(context, 'celu', { alpha: number(context, 'alpha', 1) }),
  Selu: (context) =>
    activated(context, 'selu', {
      alpha: number(context, 'alpha', 1.67326319217681884765625),
      beta: number(context, 'gamma', 1.05070102214813232421875),
    }),
  ...Object.fromEntries(
    (
      [
        ['Sigmoid', 'sigmoid'],
        ['Tanh', 'tanh'],
        ['HardSwish', 'hard_swish'],
        ['Softplus', 'softplus'],
        ['Softsign', 'softsign'],
        ['Mish', 'mish'],
        ['Exp', 'exp'],
        ['Log', 'log'],
        ['Sqrt', 'sqrt'],
        ['Reciprocal', 'reciprocal'],
        ['Abs', 'abs'],
        ['Neg', 'neg'],
        ['Erf', 'erf'],
      ] as const
    ).map(([opType, name]): [string, Lower] => [opType, (context) => activated(context, name)]),
  ),
};

function number({ node }: NodeContext, name: string, fallback: number): number {
  return floatAttribute(node, name, fallback);
}

function activated(
  context: NodeContext,
  name: ActivationKind,
  numbers: Pick<ActivationOp, 'alpha' | 'beta'> = {},
): View {
  return apply(context, viewInput(context, 0), { kind: 'activation', name, ...numbers });
}

/** Clip with attributes (to opset 10) or inputs; Clip(0, infinity) is a ReLU. */
function lowerClip(context: NodeContext): View {
  const { node } = context;
  const x = viewInput(context, 0);
  const bound = (index: number, name: string, open: number): number =>
    node.opset < 11
      ? floatAttribute(node, name, open)
      : (floatsInput(context, index)?.data[0] ?? open);
  const lo = bound(1, 'min', -Infinity);
  const hi = bound(2, 'max', Infinity);
  if (!(lo <= hi)) throw nodeError(node, 'min <= max', [lo, hi]);
  const op = clipOp(lo, hi);
  return op === 'nothing' ? x : apply(context, x, op);
}

function lowerGelu(context: NodeContext): View {
  const approximate = stringAttribute(context.node, 'approximate', 'none');
  if (approximate !== 'none' && approximate !== 'tanh') {
    throw nodeError(context.node, 'approximate = none or tanh', approximate);
  }
  return activated(context, approximate === 'none' ? 'gelu' : 'gelu_tanh');
}

/** x sigmoid(alpha x). */
function lowerSwish(context: NodeContext): View {
  const alpha = floatAttribute(context.node, 'alpha', 1);
  if (alpha === 1) return activated(context, 'silu');
  const x = viewInput(context, 0);
  const factor = { kind: 'float', dims: [], data: Float32Array.of(alpha) } as const;
  const scaled = withConstant(context, 'mul', x, factor);
  return binary(context, 'mul', x, apply(context, scaled, { kind: 'activation', name: 'sigmoid' }));
}

/** max(x, 0) + slope min(x, 0), a slope for each channel or for any other part of x. */
function lowerPRelu(context: NodeContext): View {
  const x = cellsOf(viewInput(context, 0), context.batch);
  const slopes = weightInput(context, 1);
  if (slopes.data.length === 1) return apply(context, x, { kind: 'prelu', slope: slopes.data });
  const [C = 1] = x.value.shape;
  const axis = x.axes.findIndex((atoms) => atoms.length === 1 && atoms[0]?.axis === 1);
  const along = slopes.dims.length - x.axes.length + axis;
  const perChannel = axis >= 0 && slopes.data.length === C && slopes.dims[along] === C;
  if (perChannel && x.axes[axis]?.[0]?.size === C) {
    return apply(context, x, { kind: 'prelu', slope: slopes.data });
  }
  const step = (view: View, op: StepOp): View => apply(context, view, op);
  const negative = step(step(x, { kind: 'activation', name: 'neg' }), { kind: 'relu' });
  const below = withConstant(context, 'mul', negative, slopes);
  return binary(context, 'sub', step(x, { kind: 'relu' }), below);
}
