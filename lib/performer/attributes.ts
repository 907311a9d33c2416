import { nodeError } from './onnx_error.js';
import { AttributeType, type AttributeProto } from './onnx_proto.js';
import type { OnnxNode } from './onnx_model.js';
import { readTensor, type Constant } from './onnx_tensor.js';

/** The attribute, checked to be of `type` (0 in models older than IR 2: any). */
function find(node: OnnxNode, name: string, type: number): AttributeProto | undefined {
  const attribute = node.attributes.get(name);
  if (!attribute || attribute.type === 0 || attribute.type === type) return attribute;
  throw nodeError(
    node,
    `attribute ${name} of type ${String(type)}`,
    `type ${String(attribute.type)}`,
  );
}

/** An integer attribute. */
export function intAttribute(node: OnnxNode, name: string, fallback: number): number {
  const attribute = find(node, name, AttributeType.INT);
  return attribute ? Number(attribute.i) : fallback;
}

/** A float attribute. */
export function floatAttribute(node: OnnxNode, name: string, fallback: number): number {
  return find(node, name, AttributeType.FLOAT)?.f ?? fallback;
}

/** A string attribute. */
export function stringAttribute(node: OnnxNode, name: string, fallback: string): string {
  const attribute = find(node, name, AttributeType.STRING);
  return attribute ? new TextDecoder().decode(attribute.s) : fallback;
}

/** A list of integers, undefined when it is not there. */
export function intsAttribute(node: OnnxNode, name: string): number[] | undefined {
  return find(node, name, AttributeType.INTS)?.ints.map(Number);
}

/** A list of floats, undefined when it is not there. */
export function floatsAttribute(node: OnnxNode, name: string): number[] | undefined {
  return find(node, name, AttributeType.FLOATS)?.floats;
}

/** A tensor attribute, undefined when it is not there. */
export function tensorAttribute(node: OnnxNode, name: string): Constant | undefined {
  const tensor = find(node, name, AttributeType.TENSOR)?.t;
  return tensor && readTensor(tensor, `${node.name}.${name}`);
}
