import { windowCount } from '../engine/ops/window.js';
import { intAttribute, intsAttribute, stringAttribute } from './attributes.js';
import {
  mapsInput,
  vectorInput,
  weightInput,
  type Lower,
  type NodeContext,
} from './lower_context.js';
import type { Field, NetValue, PoolOp, Sides, Window, YX } from './network.js';
import { nodeError } from './onnx_error.js';
import type { OnnxNode } from './onnx_model.js';
import { plain, type View } from './view.js';

/** Conv and pooling nodes. */
export const LOWER_WINDOW: Readonly<Record<string, Lower>> = {
  Conv: lowerConv,
  MaxPool: (context) => lowerPool(context, 'maxpool'),
  AveragePool: (context) => lowerPool(context, 'avgpool'),
};

/** A window that takes an axis whole, or 1 x 1: nothing to slide over. */
export const WHOLE_AXIS = { stride: [1, 1], pad: [0, 0, 0, 0], dilation: [1, 1] } as const;

function lowerConv(context: NodeContext): View {
  const { node } = context;
  const { x, C, H, W } = mapsInput(context, 0);
  const { dims, data } = weightInput(context, 1);
  const [O = 0, weightC = 0, R = 0, S = 0] = dims;
  const groups = intAttribute(node, 'group', 1);
  if (groups < 1 || C % groups !== 0 || O % groups !== 0) {
    throw nodeError(node, `a group that divides ${String(C)} and ${String(O)}`, groups);
  }
  if (dims.length !== 4 || weightC !== C / groups || dims.includes(0)) {
    const weights = `weights (O, ${String(C / groups)}, R, S), since x has C = ${String(C)}`;
    throw nodeError(node, weights, dims);
  }
  const kernel = pairAttribute(node, 'kernel_shape', [R, S]);
  if (kernel[0] !== R || kernel[1] !== S) {
    throw nodeError(node, `kernel_shape (${String(R)}, ${String(S)}), as the weights have`, kernel);
  }
  const window = windowOf(node, kernel, [H, W]);
  const bias = context.constant(2) || context.view(2) ? vectorInput(context, 2, O) : undefined;
  const weightShape = [O, C / groups, R, S] as const;
  const value = context.emit({
    op: { kind: 'conv', weight: data, weightShape, bias, groups, ...window },
    inputs: [x],
    shape: [O, ...outputSizes(node, window, [H, W], false)],
    field: fieldAfter(x.field, window),
  });
  return plain(value, context.batch);
}

function lowerPool(context: NodeContext, kind: PoolOp['kind']): View {
  const { node, batch } = context;
  const { x, C, H, W } = mapsInput(context, 0);
  const kernel = pairAttribute(node, 'kernel_shape', undefined);
  const window = windowOf(node, kernel, [H, W]);
  const [top, left, bottom, right] = window.pad;
  const [tall, wide] = extent(window);
  if (Math.max(top, bottom) >= tall || Math.max(left, right) >= wide) {
    throw nodeError(node, 'pads smaller than the kernel', [window.pad, kernel]);
  }
  if (kind === 'avgpool' && window.dilation.some((dilation) => dilation !== 1)) {
    throw nodeError(node, 'dilations = (1, 1)', window.dilation);
  }
  const same = stringAttribute(node, 'auto_pad', 'NOTSET').startsWith('SAME');
  const ceil = intAttribute(node, 'ceil_mode', 0) !== 0 && !same;
  const countIncludePad = intAttribute(node, 'count_include_pad', 0) !== 0;
  const sizes = outputSizes(node, window, [H, W], ceil);
  const copies = [...kernel, ...window.stride].every((size) => size === 1);
  if (copies) return plain(x, batch);
  const value = context.emit({
    op: { kind, ceil, countIncludePad, ...window },
    inputs: [x],
    shape: [C, ...sizes],
    field: fieldAfter(x.field, window),
  });
  return plain(value, batch);
}

/** Cells that a window spans, the gaps of its dilation among them. */
function extent({ kernel, dilation }: Pick<Window, 'kernel' | 'dilation'>): YX {
  return [(kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1];
}

/** kernel, stride and padding of a node over maps of `size` [H, W]. */
function windowOf(node: OnnxNode, kernel: YX, size: YX): Window {
  const dilation = pairAttribute(node, 'dilations', [1, 1]);
  const stride = pairAttribute(node, 'strides', [1, 1]);
  const pad = padOf(node, extent({ kernel, dilation }), stride, size);
  return { kernel, stride, pad, dilation };
}

function padOf(node: OnnxNode, kernel: YX, stride: YX, size: YX): Sides {
  const auto = stringAttribute(node, 'auto_pad', 'NOTSET');
  if (auto === 'VALID') return [0, 0, 0, 0];
  if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
    const vertical = samePad(kernel[0], stride[0], size[0], auto);
    const horizontal = samePad(kernel[1], stride[1], size[1], auto);
    return [vertical[0], horizontal[0], vertical[1], horizontal[1]];
  }
  if (auto !== 'NOTSET') throw nodeError(node, 'auto_pad of ONNX', auto);
  const pads = intsAttribute(node, 'pads') ?? [0, 0, 0, 0];
  const [top = -1, left = -1, bottom = -1, right = -1] = pads;
  if (pads.length !== 4 || pads.some((pad) => pad < 0 || pad >= 2 ** 31)) {
    throw nodeError(node, 'four pads >= 0', pads);
  }
  return [top, left, bottom, right];
}

/** Padding before and after so that the output has ceil(size / stride) cells. */
function samePad(
  kernel: number,
  stride: number,
  size: number,
  auto: 'SAME_UPPER' | 'SAME_LOWER',
): YX {
  const total = Math.max((Math.ceil(size / stride) - 1) * stride + kernel - size, 0);
  const small = Math.floor(total / 2);
  return auto === 'SAME_UPPER' ? [small, total - small] : [total - small, small];
}

function pairAttribute(node: OnnxNode, name: string, fallback: YX | undefined): YX {
  const given = intsAttribute(node, name) ?? fallback;
  const [vertical = 0, horizontal = 0] = given ?? [];
  if (given?.length === 2 && given.every((size) => size >= 1 && size < 2 ** 31)) {
    return [vertical, horizontal];
  }
  throw nodeError(node, `two ${name} >= 1`, given);
}

function outputSizes(node: OnnxNode, window: Window, [H, W]: YX, ceil: boolean): YX {
  const { stride, pad } = window;
  const kernel = extent(window);
  const [top, left, bottom, right] = pad;
  const P = windowCount({
    size: H,
    kernel: kernel[0],
    stride: stride[0],
    before: top,
    after: bottom,
    ceil,
  });
  const Q = windowCount({
    size: W,
    kernel: kernel[1],
    stride: stride[1],
    before: left,
    after: right,
    ceil,
  });
  if (P >= 1 && Q >= 1) return [P, Q];
  throw nodeError(node, `a kernel that fits ${String(H)} x ${String(W)} with its padding`, kernel);
}

/** The receptive field of the cells behind a window. */
export function fieldAfter(field: NetValue['field'], window: Window): NetValue['field'] {
  if (!field) return undefined;
  const { stride, pad } = window;
  const kernel = extent(window);
  const axis = (before: Field, size: number, step: number, start: number): Field => ({
    stride: before.stride * step,
    first: before.first - start * before.stride,
    last: before.last + (size - 1 - start) * before.stride,
  });
  const [vertical, horizontal] = field;
  return [
    axis(vertical, kernel[0], stride[0], pad[0]),
    axis(horizontal, kernel[1], stride[1], pad[1]),
  ];
}
