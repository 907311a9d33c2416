import { sizeOf, type Shape } from '../engine/tensor.js';
import type { Field, NetValue, StepOp } from './network.js';
import { nodeError } from './onnx_error.js';
import type { OnnxNode } from './onnx_model.js';
import type { Constant } from './onnx_tensor.js';
import {
  dimsOf,
  indexAlong,
  isWhole,
  lengthOf,
  lifted,
  sameAtoms,
  whole,
  type Atom,
  type View,
} from './view.js';

/** Most cells of maps whose elements become channels of one cell. */
const MAX_CELLS = 64;

export type FloatConstant = Constant & { kind: 'float' };

/** A new value: what it computes, from what, and its shape for one image. */
export interface Draft {
  op: StepOp;
  inputs: readonly NetValue[];
  shape: Shape;
  field: NetValue['field'];
}

/** What a lowering function sees of its node, and how it adds steps. */
export interface NodeContext {
  readonly node: OnnxNode;
  /** The size that stands for the batch in inferred shapes. */
  readonly batch: number;
  readonly inputCount: number;
  /** Input `index` if it is computed from the image. */
  readonly view: (index: number) => View | undefined;
  /** Input `index` if it is there and known at load. */
  readonly constant: (index: number) => Constant | undefined;
  /** Adds a step. */
  readonly emit: (draft: Draft) => NetValue;
  /** Maps as rows, rows as they are; one step for each value, whoever asks. */
  readonly flatten: (value: NetValue) => NetValue;
}

/** Adds the steps of a node and says what its outputs are, one or several. */
export type Lower = (context: NodeContext) => View | readonly View[];

/** Input `index`, which must be computed from the image. */
export function viewInput({ node, view }: NodeContext, index: number): View {
  const found = view(index);
  if (found) return found;
  throw nodeError(node, `input ${String(index)} computed from the image`, 'a constant or nothing');
}

/** Every input, all of which must be computed from the image. */
export function viewInputs(context: NodeContext): View[] {
  return Array.from({ length: context.inputCount }, (_, index) => viewInput(context, index));
}

/** Maps (N, C, H, W) as input `index`, with their sizes. */
export function mapsInput(
  context: NodeContext,
  index: number,
): { x: NetValue; C: number; H: number; W: number } {
  const x = mapsOf(context, viewInput(context, index));
  const [C = 1, H = 1, W = 1] = x.shape;
  return { x, C, H, W };
}

/** The value whose axes are the tensor's (N, C, H, W); channels in another order are gathered. */
export function mapsOf(context: NodeContext, view: View): NetValue {
  const found = tryMaps(context, view);
  if (found) return found;
  throw nodeError(context.node, 'maps (N, C, H, W)', shownDims(context, view));
}

/** As `mapsOf`, undefined where the tensor is not maps. */
export function tryMaps(context: NodeContext, given: View): NetValue | undefined {
  const view = lifted(given, context.batch);
  const [images = [], channels = [], rows = [], columns = []] = view.axes;
  if (view.axes.length !== 4 || !sameAtoms(images, whole(0, context.batch))) return undefined;
  if (sizeOf(view.value.shape.slice(1)) > 1 && rows.length + columns.length === 0) {
    const all = lengthOf(channels) === sizeOf(view.value.shape);
    if (all && channels.every(({ axis }) => axis !== 0)) {
      return spreadCells(context, view.value, channels);
    }
  }
  const spatial = isWhole(view, rows, 2) && isWhole(view, columns, 3);
  const C = view.value.shape[0] ?? 1;
  const own = channels.every(({ axis }) => axis === 1) && lengthOf(channels) === C;
  if (!spatial || !own) return undefined;
  const x = asMaps(context, view.value);
  if (isWhole(view, channels, 1)) return x;
  const index = Int32Array.from({ length: C });
  for (let c = 0; c < C; c++) index[indexAlong(channels, [c, 0, 0])] = c;
  return context.emit({ ...like(x, { kind: 'gather', index }) });
}

/**
 * Every element of maps (C, H, W) as a channel of one cell (C H W, 1, 1), in the order of the tensor's
 * axis `atoms`: the cells one by one, joined and then put in order.
 */
function spreadCells(context: NodeContext, value: NetValue, atoms: readonly Atom[]): NetValue {
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

/** A value as maps: rows become maps of one cell. */
export function asMaps(context: NodeContext, value: NetValue): NetValue {
  if (value.shape.length === 3) return value;
  const { op, inputs } = value.step ?? {};
  const [source] = inputs ?? [];
  const [F = 1] = value.shape;
  if (op?.kind === 'flatten' && source?.shape[0] === F) return source;
  return context.emit({
    op: { kind: 'as_maps' },
    inputs: [value],
    shape: [F, 1, 1],
    field: undefined,
  });
}

/** Rows flattened from maps of several cells as a view of those maps, anything else as it is. */
export function cellsOf(view: View, batch: number): View {
  const source = lifted(view, batch);
  return sizeOf(source.value.shape.slice(1)) > 1 ? source : view;
}

/** A step that keeps shape and field of its input. */
export function like(x: NetValue, op: StepOp): Draft {
  return { op, inputs: [x], shape: x.shape, field: x.field };
}

/** A step on each element or each channel, whatever the tensor looks like. */
export function apply(context: NodeContext, given: View, op: StepOp): View {
  const view = cellsOf(given, context.batch);
  return { ...view, value: context.emit(like(view.value, op)) };
}

/** Sizes for a message, the images as `N`. */
export function shownDims({ batch }: NodeContext, view: View): (string | number)[] {
  const [first = [], ...rest] = view.axes;
  const images = sameAtoms(first, whole(0, batch));
  return images ? ['N', ...rest.map(lengthOf)] : dimsOf(view);
}

/** What a cell sees through any of several inputs of its grid; undefined when their grids differ. */
export function mergedField(inputs: readonly NetValue[]): NetValue['field'] {
  const H = Math.max(...inputs.map(({ shape }) => shape[1] ?? 1));
  const W = Math.max(...inputs.map(({ shape }) => shape[2] ?? 1));
  // What is broadcast over the cells (squeeze and excitation) is no place that a cell sees.
  const placed = inputs.filter(({ shape }) => (shape[1] ?? 1) === H && (shape[2] ?? 1) === W);
  const fields = placed.flatMap(({ field }) => (field ? [field] : []));
  if (fields.length === 0 || fields.length < placed.length) return undefined;
  const axis = (index: 0 | 1): Field | undefined => {
    const all = fields.map((field) => field[index]);
    const stride = all[0]?.stride ?? 1;
    if (all.some((field) => field.stride !== stride)) return undefined;
    const first = Math.min(...all.map((field) => field.first));
    return { stride, first, last: Math.max(...all.map((field) => field.last)) };
  };
  const [vertical, horizontal] = [axis(0), axis(1)];
  return vertical && horizontal && [vertical, horizontal];
}

/** Float constant as input `index`, undefined when it is absent. */
export function floatsInput(context: NodeContext, index: number): FloatConstant | undefined {
  const { node } = context;
  if (context.view(index)) {
    throw nodeError(node, `input ${String(index)} stored in the model`, 'a computed value');
  }
  const found = context.constant(index);
  if (!found || found.kind === 'float') return found;
  throw nodeError(node, `floats for input ${String(index)}`, 'integers');
}

/** Float constant as input `index`, which must be there. */
export function weightInput(context: NodeContext, index: number): FloatConstant {
  const found = floatsInput(context, index);
  if (found) return found;
  throw nodeError(context.node, `input ${String(index)} stored in the model`, 'nothing');
}

/** A vector of `size` floats as input `index`. */
export function vectorInput(context: NodeContext, index: number, size: number): Float32Array {
  const { dims, data } = weightInput(context, index);
  if (dims.length === 1 && dims[0] === size) return data;
  throw nodeError(context.node, `input ${String(index)} of shape (${String(size)})`, dims);
}

/** The list that a node takes as input `index` or, in earlier opsets, as an attribute. */
export function listInput(
  context: NodeContext,
  index: number,
  attribute: readonly number[] | undefined,
): number[] | undefined {
  if (context.view(index)) {
    throw nodeError(context.node, `input ${String(index)} known at load`, 'a computed value');
  }
  const found = context.constant(index);
  return found ? [...found.data] : attribute && [...attribute];
}
