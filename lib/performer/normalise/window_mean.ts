import { intAttribute, intsAttribute } from '../attributes.js';
import { broadcastTables, upTo, walk } from '../fold/walk.js';
import type { OnnxNode } from '../onnx_model.js';
import type { Constant } from '../onnx_tensor.js';
import { replacement, type GraphView, type Replacements } from './view.js';

/** Cells of a window that are added one by one. */
const MAX_CELLS = 1024;

/**
 * Adaptive average pooling whose windows differ in size, as PyTorch's newer exporter writes it: the
 * cells of every window gathered into (N, C, P, A, Q, B), those outside a smaller window set to 0,
 * the A x B slices added, and the sum divided by each window's size. In its place: WindowMean(x) with
 * `rows` = (first, count) for each of P rows and `columns` = (first, count) for each of Q columns:
 * y[n, c, p, q] = mean of x[n, c, i, j] over the rows i of window p and the columns j of window q.
 */
export function windowMeans(view: GraphView, nodes: readonly OnnxNode[]): Replacements {
  const found = new Map<OnnxNode, readonly OnnxNode[]>();
  if (!nodes.some(({ opType, domain }) => opType === 'GatherND' && domain === '')) return found;
  for (const node of nodes) {
    if (node.domain !== '' || node.opType !== 'Div') continue;
    const made = windowMean(view, node);
    if (made) found.set(node, [made]);
  }
  return found;
}

function windowMean(view: GraphView, node: OnnxNode): OnnxNode | undefined {
  const sizes = view.constant(node.inputs[1]);
  const cells = sizes && addedCells(view, node.inputs[0] ?? '');
  const gathered = cells && gatheredFrom(view, cells.base);
  if (!sizes || !gathered) return undefined;
  const [P = 0, A = 0, Q = 0, B = 0, two] = gathered.indices.dims;
  const all = upTo(A * B).every((k) =>
    cells.seen.has(`${String(Math.floor(k / B))},${String(k % B)}`),
  );
  if (two !== 2 || gathered.indices.dims.length !== 5 || cells.seen.size !== A * B || !all) {
    return undefined;
  }
  const valid = validCells([P, A, Q, B], gathered.masks);
  const { data } = gathered.indices;
  const at = (p: number, a: number, q: number, b: number): number => ((p * A + a) * Q + q) * B + b;
  const isIn = (p: number, a: number, q: number, b: number) => valid?.[at(p, a, q, b)] === 1;
  const row = (p: number, a: number) => data[2 * at(p, a, 0, 0)] ?? -1;
  const column = (q: number, b: number) => data[2 * at(0, 0, q, b) + 1] ?? -1;
  const rows = windows(P, A, (p, a) => isIn(p, a, 0, 0), row);
  const columns = windows(Q, B, (q, b) => isIn(0, 0, q, b), column);
  if (!valid || !rows || !columns) return undefined;
  const expected = (p: number, q: number) => (rows[2 * p + 1] ?? 0) * (columns[2 * q + 1] ?? 0);
  let fits = true;
  walk([P, Q], broadcastTables(sizes.dims, [P, Q]), (offset, k) => {
    fits &&= sizes.data[offset] === expected(Math.floor(k / Q), k % Q);
  });
  for (let i = 0; i < P * A * Q * B && fits; i++) {
    const [p, a] = [Math.floor(i / (A * Q * B)), Math.floor(i / (Q * B)) % A];
    const [q, b] = [Math.floor(i / B) % Q, i % B];
    fits = isIn(p, a, q, b) === (isIn(p, a, 0, 0) && isIn(0, 0, q, b));
    fits &&= !isIn(p, a, q, b) || (data[2 * i] === row(p, a) && data[2 * i + 1] === column(q, b));
  }
  return fits ? replacement(node, 'WindowMean', [gathered.x], { rows, columns }) : undefined;
}

/** The slices [.., a, .., b] of one value that a sum adds. */
function addedCells(view: GraphView, sum: string): { base: string; seen: Set<string> } | undefined {
  const open = [sum];
  const seen = new Set<string>();
  let base: string | undefined;
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const add = view.producer(name, 'Add');
    if (add) {
      open.push(...add.inputs.slice(0, 2));
      if (open.length > MAX_CELLS) return undefined;
      continue;
    }
    const inner = view.producer(name, 'Gather');
    const outer = view.producer(inner?.inputs[0], 'Gather');
    if (!inner || !outer || intAttribute(inner, 'axis', 0) !== 4) return undefined;
    const [a, b] = [view.constant(outer.inputs[1]), view.constant(inner.inputs[1])];
    const single = a?.dims.length === 0 && b?.dims.length === 0;
    const key = `${String(a?.data[0])},${String(b?.data[0])}`;
    const same = base === undefined || base === outer.inputs[0];
    if (!single || !same || seen.has(key) || intAttribute(outer, 'axis', 0) !== 3) return undefined;
    base = outer.inputs[0];
    seen.add(key);
    if (seen.size > MAX_CELLS) return undefined;
  }
  return base === undefined ? undefined : { base, seen };
}

/** The maps that a value gathers from, the indices, and the masks where it is 0. */
function gatheredFrom(view: GraphView, name: string) {
  const masks: Constant[] = [];
  let from = name;
  for (let where = view.producer(from, 'Where'); where; where = view.producer(from, 'Where')) {
    const mask = view.constant(where.inputs[0]);
    if (!mask || view.scalar(where.inputs[1]) !== 0 || masks.length > 3) return undefined;
    masks.push(mask);
    from = where.inputs[2] ?? '';
  }
  const back = view.producer(from, 'Transpose');
  const gather = view.producer(back?.inputs[0], 'GatherND');
  const front = view.producer(gather?.inputs[0], 'Transpose');
  const indices = view.constant(gather?.inputs[1]);
  if (!back || !gather || !front || !indices) return undefined;
  const fits =
    intsAttribute(back, 'perm')?.join() === '4,5,0,1,2,3' &&
    intsAttribute(front, 'perm')?.join() === '2,3,0,1' &&
    intAttribute(gather, 'batch_dims', 0) === 0;
  const x = front.inputs[0];
  return fits && x !== undefined ? { x, indices, masks } : undefined;
}

/** 1 for each cell (P, A, Q, B) that no mask covers; undefined where a mask has other sizes. */
function validCells(dims: readonly number[], masks: readonly Constant[]): Uint8Array | undefined {
  const valid = new Uint8Array(dims.reduce((size, one) => size * one, 1)).fill(1);
  for (const mask of masks) {
    const own = [...dims.map(() => 1), ...mask.dims].slice(-dims.length);
    if (mask.dims.length > dims.length || own.some((size, i) => size !== 1 && size !== dims[i])) {
      return undefined;
    }
    walk(dims, broadcastTables(mask.dims, dims), (offset, i) => {
      if (mask.data[offset] !== 0) valid[i] = 0;
    });
  }
  return valid;
}

/** (first, count) of each of `count` windows of at most `cells` neighbours. */
function windows(
  count: number,
  cells: number,
  isIn: (window: number, cell: number) => boolean,
  index: (window: number, cell: number) => number,
): number[] | undefined {
  const found: number[] = [];
  for (let window = 0; window < count; window++) {
    const inside = upTo(cells).filter((cell) => isIn(window, cell));
    const first = index(window, 0);
    const runs = inside.every((cell, i) => cell === i && index(window, cell) === first + i);
    if (inside.length === 0 || first < 0 || !runs) return undefined;
    found.push(first, inside.length);
  }
  return found;
}
