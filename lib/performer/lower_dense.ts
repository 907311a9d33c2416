import { floatAttribute, intAttribute } from './attributes.js';
import {
  valueInput,
  weightInput,
  type Draft,
  type Lower,
  type NodeContext,
} from './lower_context.js';
import type { NetValue } from './network.js';
import { nodeError } from './onnx_error.js';

/** Fully connected nodes. */
export const LOWER_DENSE: Readonly<Record<string, Lower>> = {
  Gemm: lowerGemm,
  MatMul: (context) => dense(context, { transposed: false, alpha: 1 }),
};

function lowerGemm(context: NodeContext): Draft {
  const { node } = context;
  if (intAttribute(node, 'transA', 0) !== 0) {
    const remedy = 'The first input holds one image a row; transposed it would mix the images.';
    throw nodeError(node, 'transA = 0', 1, remedy);
  }
  const transposed = intAttribute(node, 'transB', 0) !== 0;
  const draft = dense(context, { transposed, alpha: floatAttribute(node, 'alpha', 1) });
  const hasBias = context.constant(2) !== undefined || context.value(2) !== undefined;
  if (!hasBias || draft.op.kind !== 'linear') return draft;
  const bias = biasOf(context, draft.op.outSize, floatAttribute(node, 'beta', 1));
  return { ...draft, op: { ...draft.op, bias } };
}

/** y = alpha x W; `transposed`: W is (out, in) already. */
function dense(
  context: NodeContext,
  { transposed, alpha }: { transposed: boolean; alpha: number },
): Draft {
  const { node } = context;
  const x = featuresInput(context);
  const { dims, data } = weightInput(context, 1);
  const [first = 0, second = 0] = dims;
  const [outSize, inSize] = transposed ? [first, second] : [second, first];
  if (dims.length !== 2 || inSize !== x.shape[0] || outSize < 1) {
    const size = String(x.shape[0]);
    throw nodeError(node, `weights for x of shape (N, ${size})`, dims);
  }
  const straight = transposed ? data : transpose(data, inSize, outSize);
  const weight = alpha === 1 ? straight : straight.map((w) => alpha * w);
  return {
    op: { kind: 'linear', weight, outSize, inSize, bias: undefined },
    inputs: [x],
    shape: [outSize],
    field: undefined,
  };
}

function featuresInput(context: NodeContext): NetValue {
  const x = valueInput(context, 0);
  if (x.shape.length === 1) return x;
  throw nodeError(context.node, 'feature vectors (N, F)', ['N', ...x.shape]);
}

/** beta * C, broadcast to (out). */
function biasOf(context: NodeContext, outSize: number, beta: number): Float32Array {
  const { dims, data } = weightInput(context, 2);
  const last = dims.at(-1) ?? 1;
  const row = dims.length <= 2 && data.length === last && (last === outSize || last === 1);
  if (!row) throw nodeError(context.node, `a bias of shape (${String(outSize)})`, dims);
  return Float32Array.from({ length: outSize }, (_, o) => beta * (data[last === 1 ? 0 : o] ?? 0));
}

/** (rows, columns) to (columns, rows). */
function transpose(data: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j] ?? 0;
  }
  return result;
}
