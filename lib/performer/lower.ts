import { expected, show } from '../errors.js';
import { sizeOf } from '../engine/tensor.js';
import { foldNode, shapeOf } from './fold.js';
import { LOWER_DENSE } from './lower_dense.js';
import { LOWER_POINTWISE } from './lower_pointwise.js';
import { LOWER_SHAPE } from './lower_shape.js';
import { LOWER_WINDOW } from './lower_window.js';
import type { Draft, Lower, NodeContext } from './lower_context.js';
import { imageInput } from './image_input.js';
import { nearest } from './nearest.js';
import type { NetValue, Network } from './network.js';
import { branchNodes } from './normalise/inline.js';
import { modelError, nodeError } from './onnx_error.js';
import { orderNodes } from './onnx_graph.js';
import { readTensor, storedLength, type Constant } from './onnx_tensor.js';
import type { OnnxModel, OnnxNode } from './onnx_read.js';

const LOWER: Readonly<Record<string, Lower>> = {
  ...LOWER_WINDOW,
  ...LOWER_DENSE,
  ...LOWER_POINTWISE,
  ...LOWER_SHAPE,
};

/** Op types that become ops of the engine; more are folded when all their inputs are constants. */
export const OP_TYPES: readonly string[] = Object.keys(LOWER);

/** Elements of folded constants that every model may make, beside four times what it stores. */
const FOLDED_ELEMENTS = 2 ** 22;

export interface LowerOptions {
  /** Values or nodes to compute; default: the graph's outputs. What they do not need is not read. */
  wanted?: readonly string[];
  /** Height and width of the input, where the model leaves them open (pixels). */
  size?: number;
}

/**
 * Turns an ONNX graph into a `Network`: infers shapes and receptive fields, folds constants, drops
 * what does nothing at inference (Dropout, Identity, pooling of 1 x 1). Throws `E_ONNX` naming node,
 * op type and opset for what cannot be read, `E_ARGUMENT` for wanted names that do not exist.
 */
export function lowerModel(model: OnnxModel, { wanted, size }: LowerOptions = {}): Network {
  const names = (wanted ?? model.outputs).map((name) => valueName(model, name));
  if (names.length === 0) throw modelError('at least one output', model.path, 'none');
  const nodes = orderNodes(model, names);
  const lowering = new Lowering(model, nodes, size);
  for (const node of nodes) lowering.add(node);
  return lowering.network(names);
}

/** The value of that name, or the first output of the node of that name. */
function valueName(model: OnnxModel, name: string): string {
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
  readonly #batch: number;
  readonly #constants = new Map<string, Constant>();
  readonly #names = new Map<string, NetValue>();
  readonly #values: NetValue[] = [];
  readonly #nodes = new Map<string, NetValue>();
  /** Elements that folding may still make: a small file must not ask for gigabytes. */
  #budget: number;

  constructor(model: OnnxModel, nodes: readonly OnnxNode[], size: number | undefined) {
    this.#model = model;
    const stored = [...model.initializers.values()].reduce(
      (sum, one) => sum + storedLength(one),
      0,
    );
    this.#budget = FOLDED_ELEMENTS + 4 * stored;
    const { value, batch, channelsLast } = imageInput(model, nodes, size);
    if (channelsLast) {
      throw modelError('images (N, C, H, W)', `input ${show(value.name)}`, '(N, H, W, C)');
    }
    this.#input = value;
    this.#batch = batch;
    this.#names.set(value.name, value);
  }

  add(node: OnnxNode): void {
    if (node.branches) {
      for (const inner of branchNodes(node, this.#condition(node))) this.add(inner);
      return;
    }
    const inputs = node.inputs.map((name) => this.#names.get(name));
    const output = node.outputs[0] ?? '';
    if (inputs.every((value) => value === undefined)) {
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
      this.#constants.set(output, shapeOf(node, [this.#batch, ...inputs[0].shape]));
      return;
    }
    const lower =
      node.domain === '' && Object.hasOwn(LOWER, node.opType) ? LOWER[node.opType] : undefined;
    if (!lower) throw unsupported(node);
    this.#define(node, output, lower(this.#context(node, inputs)));
  }

  network(wanted: readonly string[]): Network {
    const outputs = wanted.map((name) => {
      const value = this.#names.get(name);
      if (value) return value;
      throw modelError('an output computed from the image', `output ${show(name)}`, 'a constant');
    });
    const names = new Map([...this.#nodes, ...this.#names]);
    const { opset, fingerprint, path } = this.#model;
    return { opset, input: this.#input, values: this.#values, names, outputs, fingerprint, path };
  }

  /** Which branch an If takes: its condition must not depend on the image. */
  #condition(node: OnnxNode): boolean {
    const name = node.inputs[0] ?? '';
    const known = this.#names.has(name) ? undefined : this.#constant(node, name);
    if (known) return known.data[0] !== 0;
    throw nodeError(node, 'a condition known at load', 'one that depends on the image');
  }

  #define(node: OnnxNode, output: string, result: NetValue | Draft): void {
    let value: NetValue;
    if ('op' in result) {
      const { op, inputs, shape, field } = result;
      if (sizeOf(shape) >= 2 ** 31) {
        throw nodeError(node, 'an output of fewer than 2^31 elements', shape);
      }
      value = { name: output, shape, field, step: { op, inputs, node } };
      this.#values.push(value);
    } else value = result;
    this.#names.set(output, value);
    this.#nodes.set(node.name, value);
  }

  #context(node: OnnxNode, inputs: readonly (NetValue | undefined)[]): NodeContext {
    return {
      node,
      batch: this.#batch,
      inputCount: inputs.length,
      value: (index) => inputs[index],
      constant: (index) => (inputs[index] ? undefined : this.#constant(node, node.inputs[index])),
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
