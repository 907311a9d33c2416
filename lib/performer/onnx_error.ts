import { expected, PartlensError, show } from '../errors.js';

/** The node an error speaks of. */
export interface NodeRef {
  readonly name: string;
  readonly opType: string;
  readonly opset: number;
}

/** `node "conv2" (Conv, opset 13)`. */
export function showNode({ name, opType, opset }: NodeRef): string {
  return `node ${show(name)} (${opType}, opset ${String(opset)})`;
}

/** A node that this package does not read, or that does not fit its inputs. */
export function nodeError(
  node: NodeRef,
  what: string,
  received: unknown,
  remedy?: string,
): PartlensError {
  return expected(what, showNode(node), received, {
    code: 'E_ONNX',
    op: 'onnx',
    details: { node: node.name, opType: node.opType, opset: node.opset },
    ...(remedy === undefined ? {} : { remedy }),
  });
}

/** A model that is broken as a file or as a graph. */
export function modelError(
  what: string,
  name: string,
  received: unknown,
  options: { remedy?: string; cause?: unknown; details?: Record<string, unknown> } = {},
): PartlensError {
  return expected(what, name, received, { code: 'E_ONNX', op: 'onnx', ...options });
}
