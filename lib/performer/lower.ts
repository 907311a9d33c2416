import type { ImageSize } from '../data/image_size.js';
import { expected, show } from '../errors.js';
import { foldNode, shapeOf } from './fold.js';
import { LOWER_ARITHMETIC } from './lower_arithmetic.js';
import type { Lower, NodeContext } from './lower_context.js';
import { LOWER_DENSE } from './lower_dense.js';
import { LOWER_GATHER } from './lower_gather.js';
import { LOWER_JOIN } from './lower_join.js';
import { LOWER_NORM } from './lower_norm.js';
import { LOWER_POINTWISE } from './lower_pointwise.js';
import { LOWER_REDUCE } from './lower_reduce.js';
import { LOWER_RESIZE } from './lower_resize.js';
import { LOWER_SHAPE } from './lower_shape.js';
import { LOWER_SLICE } from './lower_slice.js';
import { Steps } from './lower_steps.js';
import { LOWER_WINDOW } from './lower_window.js';
import { foreignValue, isForeign, type TensorSizes } from './foreign.js';
import { imageInput, type ImageInput } from './image_input.js';
import { nearest } from './nearest.js';
import type { NetValue, Network } from './network.js';
import { branchNodes } from './normalise/inline.js';
import { modelError, nodeError } from './onnx_error.js';
import { orderNodes } from './onnx_graph.js';
import { readTensor, storedLength, type Constant } from './onnx_tensor.js';
import type { OnnxModel, OnnxNode } from './onnx_model.js';
import { dimsOf, plain, type View } from './view.js';

const LOWER: Readonly<Record<string, Lower>> = {
  ...LOWER_WINDOW,
  ...LOWER_REDUCE,
  ...LOWER_DENSE,
  ...LOWER_POINTWISE,
  ...LOWER_ARITHMETIC,
  ...LOWER_NORM,
  ...LOWER_SHAPE,
  ...LOWER_SLICE,
  ...LOWER_GATHER,
  ...LOWER_JOIN,
  ...LOWER_RESIZE,
};

/** Op types that become ops of the engine; more are folded when all their inputs are constants. */
export const OP_TYPES: readonly string[] = Object.keys(LOWER);

/** Batch size for shape inference where the model leaves it open: not 1, which broadcasts. */
const OPEN_BATCH = 2;

/** Elements of folded constants that every model may make, beside four times what it stores. */
const FOLDED_ELEMENTS = 2 ** 22;

export interface LowerOptions {
  /** Values or nodes to compute; default: the graph's outputs. What they do not need is not read. */
  wanted?: readonly string[];
  /** Height and width of the input, where the model leaves them open (pixels). */
  size?: ImageSize;
  /** What onnxruntime says of the file's tensors: nodes that cannot be lowered are left to it. */
  sizes?: TensorSizes;
}

/**
 * Turns an ONNX graph into a `Network`: infers shapes and receptive fields, folds constants, drops
 * what does nothing at inference (Dropout, Identity, pooling of 1 x 1). Throws `E_ONNX` naming node,
 * op type and opset for what cannot be read, `E_ARGUMENT` for wanted names that do not exist.
 */
export function lowerModel(model: OnnxModel, { wanted, size, sizes }: LowerOptions = {}): Network {
  const names = (wanted ?? model.outputs).map((name) => valueName(model, name));
  if (names.length === 0) throw modelError('at least one output', model.path, 'none');
  const nodes = orderNodes(model, names);
  const image = imageInput(model, nodes, size);
  const lower = (batch: number): Network => {
    const lowering = new Lowering(model, image, batch, sizes);
    for (const node of nodes) lowering.add(node);
    return lowering.network(names);
  };
  if (sizes) return lower(image.batch ?? 1); // as they were taken
  try {
    return lower(image.batch ?? OPEN_BATCH);
  } catch (error) {
    // Exporters bake the batch of their example into shapes, though they declare it open: one image
    // after the other, such a model still means what it says.
    if (image.batch !== undefined) throw error;
    try {
      return lower(1);
    } catch {
      throw error;
    }
  }
}

/** The value of that name, or the first output of the node of that name. */
export function valueName(model: OnnxModel, name: string): string {
  const values = new Set(model.nodes.flatMap((node) => node.outputs));
  if (values.has(name) || model.inputs.some((input) => input.name === name)) return name;
  const node = model.nodes.find((one) => one.name === name);
  const output = node?.outputs[0];
  if (output !== undefined) return output;
  if (model.outputs.includes(name)) return name; // reported by orderNodes as a broken graph
  const known = [...values, ...model.nodes.map((one) => one.name)];
  throw unknownName(name, known, 'a value or node of the model');
}

/** `E_ARGUMENT` for a name that is none, listing the nearest ones. */
export function unknownName(name: string, known: Iterable<string>, what: string): Error {
  const near = nearest(name, known);
  return expected(what, 'name', name, {
    op: 'loadPerformer',
    details: { name, nearest: near },
    remedy: `Nearest names: ${near.map(show).join(', ')}.`,
  });
}

class Lowering {
  readonly #model: OnnxModel;
  readonly #input: NetValue;
  readonly #bytes: boolean;
  readonly #batch: number;
  readonly #constants = new Map<string, Constant>();
  readonly #views = new Map<string, View>();
  readonly #steps: Steps;
  readonly #nodes = new Map<string, NetValue>();
  readonly #sizes: TensorSizes | undefined;
  readonly #foreign: OnnxNode[] = [];
  /** Values whose sizes nobody knows: wiring between foreign nodes. */
  readonly #dark = new Map<string, NetValue>();
  /** Elements that folding may still make: a small file must not ask for gigabytes. */
  #budget: number;

  constructor(
    model: OnnxModel,
    { value, bytes }: ImageInput,
    batch: number,
    sizes: TensorSizes | undefined,
  ) {
    this.#model = model;
    this.#sizes = sizes;
    const stored = [...model.initializers.values()].reduce(
      (sum, one) => sum + storedLength(one),
      0,
    );
    this.#budget = FOLDED_ELEMENTS + 4 * stored;
    this.#input = value;
    this.#bytes = bytes;
    this.#batch = batch;
    const { axes } = plain(value, batch);
    const order = value.axes ?? [];
    this.#views.set(value.name, { value, axes: order.map((axis) => axes[axis] ?? []) });
    const taken = model.nodes.flatMap((node) => node.outputs);
    this.#steps = new Steps(batch, new Set([value.name, ...taken]));
  }

  add(node: OnnxNode): void {
    const steps = this.#steps.values.length;
    try {
      this.#lower(node);
    } catch (error) {
      if (!this.#sizes || !isForeign(node, error)) throw error;
      this.#steps.rewind(steps);
      this.#addForeign(node, this.#sizes);
    }
  }

  #lower(node: OnnxNode): void {
    if (node.branches) {
      const steps = this.#steps.values.length;
      for (const inner of branchNodes(node, this.#condition(node))) this.add(inner);
      const outputs = node.outputs.flatMap((name) => {
        const view = this.#views.get(name);
        return view ? [{ name, view }] : [];
      });
      this.#steps.inside(steps, outputs);
      return;
    }
    const dark = node.inputs.find((name) => this.#dark.has(name));
    if (dark !== undefined) throw nodeError(node, 'inputs of known sizes', dark);
    const inputs = node.inputs.map((name) => this.#views.get(name));
    const output = node.outputs[0] ?? '';
    if (inputs.every((view) => view === undefined)) {
      const folded = foldNode(
        node,
        node.inputs.map((name) => this.#constant(node, name)),
      );
      if (!folded) throw unsupported(node);
      for (const [i, made] of folded.entries()) {
        this.#budget -= made.data.length;
        if (this.#budget < 0) {
          throw nodeError(node, 'constants of about the size of the model', made.dims);
        }
        this.#constants.set(node.outputs[i] ?? '', made);
      }
      return;
    }
    if (node.opType === 'Shape' && node.domain === '' && inputs[0]) {
      this.#constants.set(output, shapeOf(node, dimsOf(inputs[0])));
      return;
    }
    const lower =
      node.domain === '' && Object.hasOwn(LOWER, node.opType) ? LOWER[node.opType] : undefined;
    if (!lower) throw unsupported(node);
    this.#define(node, lower(this.#context(node, inputs)));
  }

  network(wanted: readonly string[]): Network {
    const names = new Map(this.#nodes);
    for (const [name, { value }] of this.#views) names.set(name, value);
    const outputs = wanted.map((name) => {
      const view = this.#views.get(name);
      if (view) return view.value;
      throw modelError('an output computed from the image', `output ${show(name)}`, 'a constant');
    });
    const { opset, fingerprint, path } = this.#model;
    const { values } = this.#steps;
    const views = this.#views;
    const image = { input: this.#input, bytes: this.#bytes };
    const foreign = this.#sizes && { sizes: this.#sizes, batch: this.#batch, nodes: this.#foreign };
    return { opset, ...image, values, names, views, outputs, fingerprint, path, foreign };
  }

  /** A node for onnxruntime; one that reads only constants is nobody's business here. */
  #addForeign(node: OnnxNode, sizes: TensorSizes): void {
    const views = node.inputs.flatMap((name) => this.#views.get(name) ?? []);
    const wiring = node.inputs.flatMap((name) => this.#dark.get(name) ?? []);
    const inputs = [...new Set([...views.map(({ value }) => value), ...wiring])];
    if (inputs.length === 0) return;
    this.#foreign.push(node);
    const outputs = node.outputs.filter((name) => name !== '');
    const named = outputs.map((name) => {
      const { draft, axes } = foreignValue(sizes.get(name), views, this.#batch);
      const value = this.#steps.emit(node, { ...draft, inputs });
      return { name, view: { value, axes } };
    });
    for (const { name, view } of this.#steps.finish(node, named)) {
      if (view.axes.length === 0) this.#dark.set(name, view.value);
      else this.#views.set(name, view);
      if (name === outputs[0]) this.#nodes.set(node.name, view.value);
    }
  }

  /** Which branch an If takes: its condition must not depend on the image. */
  #condition(node: OnnxNode): boolean {
    const name = node.inputs[0] ?? '';
    const known = this.#views.has(name) ? undefined : this.#constant(node, name);
    if (known) return known.data[0] !== 0;
    throw nodeError(node, 'a condition known at load', 'one that depends on the image');
  }

  #define(node: OnnxNode, result: View | readonly View[]): void {
    const views = 'axes' in result ? [result] : result;
    const named = views.flatMap((view, i) => {
      const name = node.outputs[i] ?? '';
      return name === '' ? [] : [{ name, view }];
    });
    for (const { name, view } of this.#steps.finish(node, named)) {
      this.#views.set(name, view);
      if (name === node.outputs[0]) this.#nodes.set(node.name, view.value);
    }
  }

  #context(node: OnnxNode, inputs: readonly (View | undefined)[]): NodeContext {
    return {
      node,
      batch: this.#batch,
      inputCount: inputs.length,
      view: (index) => inputs[index],
      constant: (index) => (inputs[index] ? undefined : this.#constant(node, node.inputs[index])),
      emit: (draft) => this.#steps.emit(node, draft),
      flatten: (value) => this.#steps.flatten(node, value),
    };
  }

  #constant(node: OnnxNode, name: string | undefined): Constant | undefined {
    if (name === undefined || name === '') return undefined;
    const known = this.#constants.get(name);
    if (known) return known;
    const tensor = this.#model.initializers.get(name);
    if (!tensor) throw nodeError(node, 'inputs that this package computes', name);
    const read = readTensor(tensor, name);
    this.#constants.set(name, read);
    return read;
  }
}

function unsupported(node: OnnxNode): Error {
  const domain = node.domain === '' ? '' : ` of domain ${node.domain}`;
  return nodeError(
    node,
    'a supported op type',
    `${node.opType}${domain}`,
    `Supported: ${[...OP_TYPES].sort().join(', ')}; on constants also Cast, Gather, Transpose and more.`,
  );
}
