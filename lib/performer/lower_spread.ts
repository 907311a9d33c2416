import { nodeError } from './onnx_error.js';
import { mergedField, like, type NodeContext } from './lower_context.js';
import type { NetValue } from './network.js';
import { indexAlong, type Atom } from './view.js';

/** Most cells of maps whose elements become channels of one cell. */
const MAX_CELLS = 64;

/**
 * Every element of maps (C, H, W) as a channel of one cell (C H W, 1, 1), in the order of the tensor's
 * axis `atoms`: the cells one by one, joined and then put in order.
 */
export function spreadCells(
  context: NodeContext,
  value: NetValue,
  atoms: readonly Atom[],
): NetValue {
  const [C = 1, H = 1, W = 1] = value.shape;
  if (H * W > MAX_CELLS) {
    const what = `maps of at most ${String(MAX_CELLS)} cells as a vector beside others`;
    throw nodeError(context.node, what, value.shape);
  }
  const one = (first: number) => ({ first, step: 1, count: 1 });
  const cells = Array.from({ length: H * W }, (_, i) => {
    const channels = { first: 0, step: 1, count: C };
    const [rows, columns] = [one(Math.floor(i / W)), one(i % W)];
    const op = { kind: 'slice', channels, rows, columns } as const;
    return context.emit({ ...like(value, op), shape: [C, 1, 1], field: undefined });
  });
  const shape = [C * H * W, 1, 1];
  const joined = context.emit({
    op: { kind: 'concat' },
    inputs: cells,
    shape,
    field: mergedField(cells),
  });
  const index = new Int32Array(C * H * W);
  for (let i = 0; i < index.length; i++) {
    const [c, cell] = [i % C, Math.floor(i / C)];
    index[indexAlong(atoms, [c, Math.floor(cell / W), cell % W])] = i;
  }
  return context.emit(like(joined, { kind: 'gather', index }));
}
