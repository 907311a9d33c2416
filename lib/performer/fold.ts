import { ELEMENTWISE } from './fold/elementwise.js';
import { MAKES } from './fold/make.js';
import { MOVES } from './fold/move.js';
import type { Fold, Inputs } from './fold/walk.js';
import type { OnnxNode } from './onnx_model.js';
import type { Constant } from './onnx_tensor.js';

export {
  axesOf,
  axisOf,
  broadcastDims,
  flattenDims,
  reshapeDims,
  shapeOf,
  sliceIndices,
  splitSizes,
  squeezeDims,
  unsqueezeDims,
} from './fold/dims.js';

const FOLDS: Readonly<Record<string, Fold>> = { ...MAKES, ...MOVES, ...ELEMENTWISE };

/** Op types that are computed when all their inputs are constants. */
export const FOLDED_TYPES: readonly string[] = Object.keys(FOLDS);

/**
 * Computes the outputs of a node whose inputs are all constants: what exporters put before a Reshape
 * (Shape, Gather, Concat ...) and around weights (Transpose, Cast, DequantizeLinear). Undefined for
 * any other op type; a node that does not fit its inputs throws `E_ONNX`.
 */
export function foldNode(node: OnnxNode, inputs: Inputs): Constant[] | undefined {
  const fold =
    node.domain === '' && Object.hasOwn(FOLDS, node.opType) ? FOLDS[node.opType] : undefined;
  const made = fold?.(node, inputs);
  return made === undefined || Array.isArray(made) ? made : [made];
}
