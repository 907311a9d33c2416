import { floatAttribute, floatsAttribute, stringAttribute } from '../attributes.js';
import { nodeError } from '../onnx_error.js';
import type { OnnxNode } from '../onnx_model.js';
import type { AttributeValue } from '../onnx_write.js';
import { replacement, type Replacements } from './view.js';

const DOMAIN = 'com.microsoft';

/** Nodes that onnxruntime's optimiser and its exporters write, as nodes of the default domain. */
export function vendor(nodes: readonly OnnxNode[]): Replacements {
  const found = new Map<OnnxNode, readonly OnnxNode[]>();
  for (const node of nodes) {
    if (node.domain === DOMAIN && Object.hasOwn(EXPANSIONS, node.opType)) {
      found.set(node, EXPANSIONS[node.opType]?.(node) ?? [node]);
    }
  }
  return found;
}

const EXPANSIONS: Readonly<Record<string, (node: OnnxNode) => OnnxNode[]>> = {
  FusedConv: (node) => fused(node, 'Conv', 3),
  FusedGemm: (node) => fused(node, 'Gemm', 3),
  Gelu: (node) => [replacement(node, 'Gelu', node.inputs, { approximate: 'none' })],
  BiasGelu: (node) => biased(node, 'none'),
  FastGelu: (node) => biased(node, 'tanh'),
  QuickGelu: (node) => [
    replacement(node, 'Swish', node.inputs, {
      alpha: { float: floatAttribute(node, 'alpha', 1.702) },
    }),
  ],
  QuantizeLinear: (node) => [{ ...node, domain: '' }],
  DequantizeLinear: (node) => [{ ...node, domain: '' }],
};

function biased(node: OnnxNode, approximate: string): OnnxNode[] {
  const [x = '', bias = ''] = node.inputs;
  if (bias === '') return [replacement(node, 'Gelu', [x], { approximate })];
  const sum = `${node.outputs[0] ?? ''}/biased`;
  return [
    { ...replacement(node, 'Add', [x, bias]), name: `${node.name}/Add`, outputs: [sum] },
    replacement(node, 'Gelu', [sum], { approximate }),
  ];
}

/** `opType` with `count` inputs, plus what a further input adds, then the activation. */
function fused(node: OnnxNode, opType: string, count: number): OnnxNode[] {
  const [output = ''] = node.outputs;
  const after: ((x: string) => OnnxNode)[] = [];
  const added = node.inputs[count] ?? '';
  if (added !== '') after.push((x) => replacement(node, 'Add', [x, added]));
  const activation = stringAttribute(node, 'activation', '');
  if (activation !== '') {
    after.push((x) => ({
      ...replacement(node, activation, [x], parameters(node, activation)),
      ...(activation === 'Clip' ? { opset: 6 } : {}), // its bounds are attributes there
    }));
  }
  const kept = [...node.attributes].filter(([name]) => !name.startsWith('activation'));
  const first = { ...node, opType, domain: '', attributes: new Map(kept) };
  const nodes: OnnxNode[] = [{ ...first, inputs: node.inputs.slice(0, count) }];
  for (const next of after) {
    const before = nodes.at(-1);
    if (!before) break;
    const name = `${output}/${before.opType}`;
    nodes.splice(-1, 1, { ...before, name: `${node.name}/${before.opType}`, outputs: [name] });
    nodes.push({ ...first, ...next(name) });
  }
  return nodes;
}

function parameters(node: OnnxNode, activation: string): Readonly<Record<string, AttributeValue>> {
  const names: Readonly<Record<string, readonly string[]>> = {
    Relu: [],
    Tanh: [],
    Sigmoid: [],
    HardSwish: [],
    LeakyRelu: ['alpha'],
    Elu: ['alpha'],
    Clip: ['min', 'max'],
    HardSigmoid: ['alpha', 'beta'],
  };
  const wanted = names[activation];
  if (!wanted) throw nodeError(node, 'an activation that this package knows', activation);
  const single = wanted.flatMap((name) => node.attributes.get(`activation_${name}`)?.f ?? []);
  const given = floatsAttribute(node, 'activation_params') ?? single;
  return Object.fromEntries(
    wanted.flatMap((name, i) => {
      const value = given[i];
      return value === undefined ? [] : [[name, { float: value }] as const];
    }),
  );
}
