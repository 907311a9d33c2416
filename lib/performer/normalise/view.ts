import { PartlensError } from '../../errors.js';
import { sizeOf } from '../../engine/tensor.js';
import { foldNode } from '../fold.js';
import type { OnnxModel, OnnxNode } from '../onnx_model.js';
import { readTensor, storedLength, type Constant } from '../onnx_tensor.js';
import { attributeOf, type AttributeValue } from '../onnx_write.js';

/** Constants that a pattern may hold (elements): factors, bounds, paddings, indices. */
const MAX_ELEMENTS = 2 ** 14;

/** Nodes from a constant back to what is stored. */
const MAX_DEPTH = 16;

/** Readers of one value that are looked at: patterns have few, and a search must stay linear. */
const MAX_READERS = 8;

/** A graph by the names of its values. */
export class GraphView {
  readonly #model: OnnxModel;
  readonly #producers = new Map<string, OnnxNode>();
  readonly #readers = new Map<string, OnnxNode[]>();
  readonly #constants = new Map<string, Constant | undefined>();

  constructor(model: OnnxModel) {
    this.#model = model;
    for (const node of model.nodes) {
      for (const name of node.outputs) this.#producers.set(name, node);
      for (const name of new Set(node.inputs)) {
        const readers = this.#readers.get(name);
        if (!readers) this.#readers.set(name, [node]);
        else if (readers.length < MAX_READERS) readers.push(node);
      }
    }
  }

  /** The node of the default domain that makes a value, if it is one of `opTypes`. */
  producer(name: string | undefined, ...opTypes: readonly string[]): OnnxNode | undefined {
    const node = name === undefined ? undefined : this.#producers.get(name);
    const fits = node?.domain === '' && node.outputs[0] === name && opTypes.includes(node.opType);
    return fits ? node : undefined;
  }

  /** The first nodes that read a value, of the default domain and one of `opTypes`. */
  readers(name: string | undefined, ...opTypes: readonly string[]): OnnxNode[] {
    const readers = name === undefined ? undefined : this.#readers.get(name);
    return (readers ?? []).filter((one) => one.domain === '' && opTypes.includes(one.opType));
  }

  /** A small value that is known without an image. */
  constant(name: string | undefined, depth = 0): Constant | undefined {
    if (name === undefined || name === '' || depth > MAX_DEPTH) return undefined;
    if (this.#constants.has(name)) return this.#constants.get(name);
    const found = this.#constant(name, depth);
    this.#constants.set(name, found);
    return found;
  }

  /** A single number that is known without an image. */
  scalar(name: string | undefined): number | undefined {
    const found = this.constant(name);
    return found?.data.length === 1 && found.dims.length < 2 ? found.data[0] : undefined;
  }

  /** Sizes of what is stored in the file or in a Constant node, whatever its length. */
  storedDims(name: string | undefined): readonly number[] | undefined {
    const tensor =
      this.#model.initializers.get(name ?? '') ??
      this.producer(name, 'Constant')?.attributes.get('value')?.t;
    return tensor?.dims.map(Number) ?? this.constant(name)?.dims;
  }

  #constant(name: string, depth: number): Constant | undefined {
    const tensor = this.#model.initializers.get(name);
    const node = this.#producers.get(name);
    try {
      if (tensor) {
        const small = storedLength(tensor) <= 8 * MAX_ELEMENTS;
        return small ? bounded(readTensor(tensor, name)) : undefined;
      }
      if (!node || (node.inputs.length === 0 && node.opType !== 'Constant')) return undefined;
      if ((node.attributes.get('value')?.t?.rawData.length ?? 0) > 8 * MAX_ELEMENTS) {
        return undefined;
      }
      const inputs = node.inputs.map((one) => this.constant(one, depth + 1));
      if (inputs.some((one, i) => one === undefined && node.inputs[i] !== '')) return undefined;
      return bounded(foldNode(node, inputs)?.[node.outputs.indexOf(name)]);
    } catch (error) {
      if (error instanceof PartlensError) return undefined; // lowering tells of it
      throw error;
    }
  }
}

function bounded(found: Constant | undefined): Constant | undefined {
  return found && sizeOf(found.dims) <= MAX_ELEMENTS ? found : undefined;
}

/** A node of another op type in the place of `root`: its name and its first output. */
export function replacement(
  root: OnnxNode,
  opType: string,
  inputs: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
): OnnxNode {
  const { name, opset, outputs } = root;
  const list = Object.entries(attributes).map(
    ([key, value]) => [key, attributeOf(key, value)] as const,
  );
  const domain = '';
  return { name, opset, domain, opType, inputs, outputs, attributes: new Map(list) };
}

/** What takes the place of nodes. */
export type Replacements = ReadonlyMap<OnnxNode, readonly OnnxNode[]>;

/** True for numbers that are meant to be the same; constants of half precision have 11 bits. */
export function near(a: number | undefined, b: number): boolean {
  return a !== undefined && Math.abs(a - b) <= 1e-3 * Math.abs(b);
}

/** `node` is a binary node with `name` on one side: what stands on the other one. */
export function otherInput(node: OnnxNode, name: string): string | undefined {
  const [a, b] = node.inputs;
  if (node.inputs.length !== 2) return undefined;
  if (a === name) return b;
  return b === name ? a : undefined;
}
