import { floatAttribute, intAttribute, intsAttribute } from '../attributes.js';
import type { OnnxNode } from '../onnx_model.js';
import { hasFactors, productOf } from './product.js';
import { otherInput, replacement, type GraphView, type Replacements } from './view.js';

/**
 * Single nodes for normalisations that exporters write out: LayerNormalization where scale follows
 * and the axes count from the end; else MeanVarianceNormalization with `axes` and, beside what ONNX
 * gives it, `epsilon`: (x - mean) / sqrt(var + epsilon). LRN as PyTorch writes it.
 */
export function norms(view: GraphView, nodes: readonly OnnxNode[]): Replacements {
  const found = new Map<OnnxNode, readonly OnnxNode[]>();
  for (const node of nodes) {
    if (node.domain !== '' || node.opType !== 'Div') continue;
    for (const [root, made] of layerNorm(view, node)) found.set(root, [made]);
    const lrn = localResponse(view, node);
    if (lrn) found.set(node, [lrn]);
  }
  return found;
}

/** (x - mean) / sqrt(mean((x - mean)^2) + epsilon), and what scales and shifts it. */
function layerNorm(view: GraphView, node: OnnxNode): [OnnxNode, OnnxNode][] {
  const centred = centredOf(view, node.inputs[0]);
  const root = view.producer(node.inputs[1], 'Sqrt', 'Pow');
  if (!centred || !root) return [];
  if (root.opType === 'Pow' && view.scalar(root.inputs[1]) !== 0.5) return [];
  const sum = view.producer(root.inputs[0], 'Add');
  const variance = sum?.inputs.find((name) => view.scalar(name) === undefined);
  const epsilon = sum && variance !== undefined && view.scalar(otherInput(sum, variance));
  const mean = meanOf(view, variance);
  if (typeof epsilon !== 'number' || mean?.axes.join() !== centred.axes.join()) return [];
  const square = productOf(view, mean.x, new Set([node.inputs[0] ?? '']), 1);
  const same = square.factors.map((name) => centredOf(view, name));
  const twice = square.scale === 1 && same.length === 2;
  if (!twice || same.some((one) => one?.x !== centred.x || one.axes.join() !== mean.axes.join())) {
    return [];
  }
  const { x, axes } = centred;
  const attributes = { axes, epsilon: { float: epsilon } };
  const plain: [OnnxNode, OnnxNode] = [
    node,
    replacement(node, 'MeanVarianceNormalization', [x], attributes),
  ];
  return [plain, ...scaled(view, node, x, axes, epsilon)];
}

/** LayerNormalization where a Mul by stored numbers, and an Add, follow `node`. */
function scaled(
  view: GraphView,
  node: OnnxNode,
  x: string,
  axes: readonly number[],
  epsilon: number,
): [OnnxNode, OnnxNode][] {
  const ordered = [...axes].sort((a, b) => a - b);
  if (!ordered.every((axis, i) => axis === i - ordered.length)) return [];
  const fits = (name: string | undefined): name is string => {
    const dims = view.storedDims(name);
    return dims?.length === ordered.length && dims.some((size) => size > 1);
  };
  const attributes = { axis: -ordered.length, epsilon: { float: epsilon } };
  const found: [OnnxNode, OnnxNode][] = [];
  const [name = ''] = node.outputs;
  for (const times of view.readers(name, 'Mul')) {
    const scale = otherInput(times, name);
    if (!fits(scale)) continue;
    found.push([times, replacement(times, 'LayerNormalization', [x, scale], attributes)]);
    const [product = ''] = times.outputs;
    for (const plus of view.readers(product, 'Add')) {
      const shift = otherInput(plus, product);
      if (!fits(shift)) continue;
      found.push([plus, replacement(plus, 'LayerNormalization', [x, scale, shift], attributes)]);
    }
  }
  return found;
}

/** x and the axes, if a value is x - mean(x). */
function centredOf(view: GraphView, name: string | undefined) {
  const sub = view.producer(name, 'Sub');
  const mean = meanOf(view, sub?.inputs[1]);
  return mean && mean.x === sub?.inputs[0] ? mean : undefined;
}

function meanOf(view: GraphView, name: string | undefined) {
  const node = view.producer(name, 'ReduceMean');
  if (!node || intAttribute(node, 'keepdims', 1) !== 1) return undefined;
  const input = view.constant(node.inputs[1]);
  const axes = input ? [...input.data] : intsAttribute(node, 'axes');
  const x = node.inputs[0];
  return x !== undefined && axes !== undefined && axes.length > 0 ? { x, axes } : undefined;
}

/** x / (k + alpha mean(x^2 over neighbouring channels))^beta [Krizhevsky 2012]. */
function localResponse(view: GraphView, node: OnnxNode): OnnxNode | undefined {
  const [x = '', power] = node.inputs;
  const pow = view.producer(power, 'Pow');
  const beta = view.scalar(pow?.inputs[1]);
  const sum = view.producer(pow?.inputs[0], 'Add');
  const scaledName = sum?.inputs.find((name) => view.scalar(name) === undefined);
  const bias = sum && scaledName !== undefined && view.scalar(otherInput(sum, scaledName));
  if (beta === undefined || typeof bias !== 'number' || scaledName === undefined) return undefined;
  const { scale: alpha, factors } = productOf(view, scaledName, new Set(), 1);
  const size = factors.length === 1 ? channelWindow(view, factors[0] ?? '', x) : undefined;
  if (size === undefined) return undefined;
  return replacement(node, 'LRN', [x], {
    size,
    alpha: { float: alpha },
    beta: { float: beta },
    bias: { float: bias },
  });
}

/**
 * The number of channels whose squares of `x` a value averages: a pooling over (N, 1, C, H, W), or
 * (N, 1, C, H W), with `size` cells along C, behind a padding. Even sizes lie differently in ONNX.
 */
function channelWindow(view: GraphView, name: string, x: string): number | undefined {
  const pool = view.producer(throughShapes(view, name).name, 'AveragePool');
  const kernel = pool && intsAttribute(pool, 'kernel_shape');
  const [size = 0, ...rest] = kernel ?? [];
  if (!pool || !kernel || size % 2 === 0 || rest.length === 0 || rest.some((one) => one !== 1)) {
    return undefined;
  }
  const strides = intsAttribute(pool, 'strides') ?? [];
  if (strides.some((one) => one !== 1) || intAttribute(pool, 'ceil_mode', 0) !== 0)
    return undefined;
  const rank = kernel.length + 2;
  const sides = Array.from({ length: 2 * rank }, () => 0);
  const own = intsAttribute(pool, 'pads') ?? kernel.flatMap(() => [0, 0]);
  if (own.some((one) => one !== 0) && intAttribute(pool, 'count_include_pad', 0) !== 1) {
    return undefined;
  }
  own.forEach((one, i) => (sides[i < kernel.length ? i + 2 : i + 4] = one));
  let input = pool.inputs[0] ?? '';
  for (let pad = view.producer(input, 'Pad'); pad; pad = view.producer(input, 'Pad')) {
    const pads = pad.opset < 11 ? intsAttribute(pad, 'pads') : view.constant(pad.inputs[1])?.data;
    const fill = pad.opset < 11 ? floatAttribute(pad, 'value', 0) : view.scalar(pad.inputs[2]);
    if (pads?.length !== sides.length || (fill ?? 0) !== 0 || pad.inputs.length > 3)
      return undefined;
    pads.forEach((one, i) => (sides[i] = (sides[i] ?? 0) + one));
    input = pad.inputs[0] ?? '';
  }
  const half = (size - 1) / 2;
  const fits = sides.every((side, i) => side === (i === 2 || i === rank + 2 ? half : 0));
  const source = throughShapes(view, input, rank);
  const square = productOf(view, source.name, new Set([x]), 1);
  return fits && source.split && square.scale === 1 && hasFactors(square, x, x) ? size : undefined;
}

/**
 * The value behind nodes that only change its shape, and whether one of them made an axis of size 1
 * in front of the channels, for a tensor of `rank` axes.
 */
function throughShapes(view: GraphView, name: string, rank = 0): { name: string; split: boolean } {
  let split = false;
  for (let step = 0; step < 8; step++) {
    const node = view.producer(name, 'Reshape', 'Squeeze', 'Unsqueeze', 'Identity', 'If');
    if (!node) break;
    if (node.branches && !passesOn(node)) break;
    if (node.opType === 'Unsqueeze') {
      const axes = view.constant(node.inputs[1])?.data ?? intsAttribute(node, 'axes');
      split ||= axes?.length === 1 && axes[0] === 1;
    }
    if (node.opType === 'Reshape') split ||= secondSize(view, node.inputs[1], rank) === 1;
    name = node.inputs[node.opType === 'If' ? 1 : 0] ?? '';
  }
  return { name, split };
}

/** The second of `rank` sizes that a Reshape asks for, also where others depend on the batch. */
function secondSize(view: GraphView, name: string | undefined, rank: number): number | undefined {
  const known = view.constant(name)?.data;
  if (known) return known.length === rank ? known[1] : undefined;
  const list = view.producer(name, 'Concat');
  return list?.inputs.length === rank ? view.scalar(list.inputs[1]) : undefined;
}

/** True for the If that old exporters write for a Squeeze: both branches pass one value on. */
function passesOn({ branches, inputs }: OnnxNode): boolean {
  const allowed = ['Squeeze', 'Unsqueeze', 'Identity', 'Constant'];
  const nodes = [...(branches?.then.nodes ?? []), ...(branches?.else.nodes ?? [])];
  return inputs.length === 2 && nodes.every(({ opType }) => allowed.includes(opType));
}
