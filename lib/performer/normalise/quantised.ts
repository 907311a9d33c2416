import { intAttribute } from '../attributes.js';
import { QUANTISED } from '../fold/make.js';
import { DataType } from '../onnx_proto.js';
import type { OnnxNode } from '../onnx_model.js';
import { replacement, type GraphView, type Replacements } from './view.js';

/**
 * Activations that a model quantises and dequantises at once: their float meaning is Clip to what
 * the quantised type can hold (quantisers drop a ReLU whose work that range does), without the
 * rounding. Weights are left: they fold.
 */
export function quantised(view: GraphView, nodes: readonly OnnxNode[]): Replacements {
  const found = new Map<OnnxNode, readonly OnnxNode[]>();
  for (const node of nodes) {
    const made = node.domain === '' && node.opType === 'DequantizeLinear' && floatOf(view, node);
    if (made) found.set(node, [made]);
  }
  return found;
}

function floatOf(view: GraphView, node: OnnxNode): OnnxNode | undefined {
  const quantise = view.producer(node.inputs[0], 'QuantizeLinear');
  const x = quantise?.inputs[0];
  if (!quantise || x === undefined || view.constant(x)) return undefined;
  const scale = view.scalar(quantise.inputs[1]);
  const same = scale !== undefined && scale === view.scalar(node.inputs[1]);
  const zero = zeroOf(view, quantise);
  if (!same || !zero || zero.value !== zeroOf(view, node)?.value) return undefined;
  const range = QUANTISED[zero.type];
  if (!range) return undefined;
  const bound = (limit: number) => ({ float: (limit - zero.value) * scale });
  const clip = replacement(node, 'Clip', [x], { min: bound(range[0]), max: bound(range[1]) });
  return { ...clip, opset: 6 }; // the opset in which the bounds are attributes
}

function zeroOf(view: GraphView, node: OnnxNode): { value: number; type: number } | undefined {
  const asked = intAttribute(node, 'output_dtype', 0);
  const type = asked === 0 ? DataType.UINT8 : asked;
  if ((node.inputs[2] ?? '') === '') return { value: 0, type };
  const zero = view.constant(node.inputs[2]);
  if (zero?.kind !== 'int' || zero.data.length !== 1) return undefined;
  return { value: zero.data[0] ?? 0, type: zero.type ?? type };
}
