import { floatAttribute } from '../attributes.js';
import type { OnnxNode } from '../onnx_model.js';
import { hasFactors, multiplesOf, productOf } from './product.js';
import { near, otherInput, replacement, type GraphView, type Replacements } from './view.js';

type Found = [root: OnnxNode, made: OnnxNode];
type Pattern = (view: GraphView, node: OnnxNode) => Found[];

/** Activations written out, by the op type that gives them away. */
const PATTERNS: Readonly<Record<string, Pattern>> = {
  Erf: geluPattern,
  Tanh: (view, node) => [...geluTanhPattern(view, node), ...mishPattern(view, node)],
  Sigmoid: swishPattern,
  HardSigmoid: hardSwishPattern,
  Clip: hardClipPattern,
};

/**
 * Single nodes for activations that exporters write out: Gelu (attribute `approximate` as in opset
 * 20), Swish (x sigmoid(alpha x), attribute `alpha`), HardSwish, HardSigmoid, Mish.
 */
export function activations(view: GraphView, nodes: readonly OnnxNode[]): Replacements {
  const found = new Map<OnnxNode, readonly OnnxNode[]>();
  for (const node of nodes) {
    if (node.domain !== '' || !Object.hasOwn(PATTERNS, node.opType)) continue;
    for (const [root, made] of PATTERNS[node.opType]?.(view, node) ?? []) found.set(root, [made]);
  }
  return found;
}

/** x sigmoid(alpha x) [Ramachandran 2017]. */
function swishPattern(view: GraphView, node: OnnxNode): Found[] {
  const [u = ''] = node.inputs;
  return view.readers(node.outputs[0], 'Mul').flatMap((root): Found[] => {
    const x = otherInput(root, node.outputs[0] ?? '');
    if (x === undefined || x === node.outputs[0]) return [];
    if (x === u) return [[root, replacement(root, 'Swish', [x], { alpha: { float: 1 } })]];
    const scaled = view.producer(u, 'Mul');
    const alpha = scaled && view.scalar(otherInput(scaled, x));
    if (alpha === undefined) return [];
    return [[root, replacement(root, 'Swish', [x], { alpha: { float: alpha } })]];
  });
}

/** x hardSigmoid(x) with the slope 1/6 [Howard 2019]. */
function hardSwishPattern(view: GraphView, node: OnnxNode): Found[] {
  const [x = ''] = node.inputs;
  const slope = floatAttribute(node, 'alpha', 0.2);
  if (!near(slope, 1 / 6) || !near(floatAttribute(node, 'beta', 0.5), 0.5)) return [];
  return view
    .readers(node.outputs[0], 'Mul')
    .filter((root) => otherInput(root, node.outputs[0] ?? '') === x)
    .map((root): Found => [root, replacement(root, 'HardSwish', [x])]);
}

/** clip(x + 3, 0, 6) / 6, alone or times x. */
function hardClipPattern(view: GraphView, node: OnnxNode): Found[] {
  const [lo, hi] =
    node.opset < 11
      ? [floatAttribute(node, 'min', -Infinity), floatAttribute(node, 'max', Infinity)]
      : [view.scalar(node.inputs[1]), view.scalar(node.inputs[2])];
  const sum = view.producer(node.inputs[0], 'Add');
  const x = sum?.inputs.find((name) => !near(view.scalar(name), 3));
  const three = sum && x !== undefined && near(view.scalar(otherInput(sum, x)), 3);
  if (lo !== 0 || !near(hi, 6) || !three) return [];
  const clipped = node.outputs[0] ?? '';
  return [...multiplesOf(view, clipped)].flatMap((root): Found[] => {
    const product = productOf(view, root.outputs[0] ?? '', new Set([x, clipped]));
    if (!near(product.scale, 1 / 6)) return [];
    if (hasFactors(product, x, clipped)) return [[root, replacement(root, 'HardSwish', [x])]];
    const attributes = { alpha: { float: 1 / 6 }, beta: { float: 0.5 } };
    if (!hasFactors(product, clipped)) return [];
    return [[root, replacement(root, 'HardSigmoid', [x], attributes)]];
  });
}

/** x / 2 (1 + erf(x / sqrt 2)) [Hendrycks 2016]. */
function geluPattern(view: GraphView, node: OnnxNode): Found[] {
  const scaled = view.producer(node.inputs[0], 'Mul', 'Div');
  const x = scaled?.inputs.find((name) => view.scalar(name) === undefined);
  if (scaled === undefined || x === undefined) return [];
  const inside = productOf(view, node.inputs[0] ?? '', new Set([x]), 1);
  if (!near(inside.scale, Math.SQRT1_2) || !hasFactors(inside, x)) return [];
  return gated(view, node).flatMap((one) => halves(view, one, x, 'none'));
}

/** x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) [Hendrycks 2016]. */
function geluTanhPattern(view: GraphView, node: OnnxNode): Found[] {
  return gated(view, node).flatMap((one) => {
    const beside = [...multiplesOf(view, one, 2)].flatMap((root) => [...root.inputs]);
    const inner = beside.flatMap((name) => view.producer(name, 'Mul', 'Div')?.inputs ?? []);
    const candidates = [...new Set([...beside, ...inner])].filter(
      (name) => name !== one && view.scalar(name) === undefined && isCubic(view, node, name),
    );
    return candidates.slice(0, 1).flatMap((x) => halves(view, one, x, 'tanh'));
  });
}

/** True if `node` takes sqrt(2 / pi) (x + 0.044715 x^3), or sqrt(2 / pi) x (1 + 0.044715 x^2). */
function isCubic(view: GraphView, node: OnnxNode, x: string): boolean {
  const stops = new Set([x]);
  const outside = productOf(view, node.inputs[0] ?? '', stops);
  if (!near(outside.scale, Math.sqrt(2 / Math.PI))) return false;
  const sum = view.producer(
    outside.factors.find((name) => name !== x),
    'Add',
  );
  if (!sum) return false;
  const name = sum.outputs[0] ?? '';
  return sum.inputs.some((term) => {
    const product = productOf(view, term, stops);
    const rest = otherInput(sum, term) ?? '';
    if (!near(product.scale, 0.044715)) return false;
    if (hasFactors(product, x, x, x)) return rest === x && hasFactors(outside, name);
    return hasFactors(product, x, x) && view.scalar(rest) === 1 && hasFactors(outside, x, name);
  });
}

/** The names of 1 + (output of `node`). */
function gated(view: GraphView, node: OnnxNode): string[] {
  return view
    .readers(node.outputs[0], 'Add')
    .filter((sum) => view.scalar(otherInput(sum, node.outputs[0] ?? '')) === 1)
    .map((sum) => sum.outputs[0] ?? '');
}

/** Nodes that give x / 2 times the value `gate`. */
function halves(view: GraphView, gate: string, x: string, approximate: string): Found[] {
  return [...multiplesOf(view, gate)].flatMap((root): Found[] => {
    const product = productOf(view, root.outputs[0] ?? '', new Set([x, gate]));
    if (!near(product.scale, 0.5) || !hasFactors(product, x, gate)) return [];
    return [[root, replacement(root, 'Gelu', [x], { approximate })]];
  });
}

/** x tanh(softplus(x)) [Misra 2019]. */
function mishPattern(view: GraphView, node: OnnxNode): Found[] {
  const x = view.producer(node.inputs[0], 'Softplus')?.inputs[0];
  if (x === undefined) return [];
  return view
    .readers(node.outputs[0], 'Mul')
    .filter((root) => otherInput(root, node.outputs[0] ?? '') === x)
    .map((root): Found => [root, replacement(root, 'Mish', [x])]);
}
