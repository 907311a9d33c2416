import { expected, PartlensError } from '../errors.js';
import { SignatureBinding, type Derive } from './signature.js';
import {
  checkShape,
  showShape,
  sizeOf,
  type Chw,
  type DType,
  type Layout,
  type Shape,
  type ValueType,
} from './tensor.js';

/** One tensor of the graph: output `index` of `node`. Made by ops, never by hand. */
export class Value implements ValueType {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly layout: Layout;
  readonly chw: Chw | undefined;

  constructor(
    readonly node: Node,
    readonly index: number,
    readonly id: number,
    type: ValueType,
  ) {
    this.shape = type.shape;
    this.dtype = type.dtype;
    this.layout = type.layout;
    this.chw = type.chw;
  }
}

/**
 * `input` is given anew at every run; `parameter`, `state` and `frozen` live in the session and are
 * found by name in all of its programs (a parameter is trained, a state is kept: running means,
 * moments; a frozen tensor is written once: the weights of a network that is not trained);
 * `constant` is filled once; `view` is its input under another shape; `op` runs a kernel.
 */
export type NodeKind = 'input' | 'parameter' | 'state' | 'frozen' | 'constant' | 'view' | 'op';

export interface Node {
  readonly graph: Graph;
  readonly id: number;
  readonly kind: NodeKind;
  readonly name: string;
  readonly op: OpDefinition | undefined;
  readonly attrs: Readonly<Record<string, number>>;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly Value[];
  /** What a state or constant holds in a new session. */
  readonly fill: number;
}

export interface LeafOptions {
  /** Default: maps for rank 4, rows otherwise. */
  layout?: Layout;
  dtype?: DType;
  /** For rows and linear weights whose last axis is a flattened (C, H, W). */
  chw?: Chw | undefined;
  /** Value of every element in a new session, default 0. Parameters and states. */
  fill?: number;
}

interface NodeParts {
  kind: NodeKind;
  name: string;
  types: readonly ValueType[];
  op?: OpDefinition;
  attrs?: Readonly<Record<string, number>>;
  inputs?: readonly (Value | undefined)[];
  fill?: number;
}

/** A graph of ops, built once and compiled by `createSession`. Node ids are a topological order. */
export class Graph {
  readonly nodes: Node[] = [];
  /** What a run may fetch, by name. */
  readonly outputs = new Map<string, Value>();
  /** Values computed for their effect: optimizer steps, running means. */
  readonly updates: Value[] = [];
  readonly #leaves = new Map<string, Value>();
  readonly #interned = new Map<string, Node>();
  #values = 0;

  /** A tensor given at every run. */
  input(name: string, shape: Shape, options: LeafOptions = {}): Value {
    return this.#leaf('input', name, shape, options);
  }

  /** A trained tensor, kept by the session. */
  parameter(name: string, shape: Shape, options: LeafOptions = {}): Value {
    return this.#leaf('parameter', name, shape, options);
  }

  /** A tensor that ops update and no gradient reaches, kept by the session. */
  state(name: string, shape: Shape, options: LeafOptions = {}): Value {
    return this.#leaf('state', name, shape, options);
  }

  /** A tensor that a session is given once and that nothing changes: weights of another network. */
  frozen(name: string, shape: Shape, options: LeafOptions = {}): Value {
    return this.#leaf('frozen', name, shape, options);
  }

  /** A tensor of one value everywhere. */
  constant(fill: number, shape: Shape = [], options: LeafOptions = {}): Value {
    const { dtype = 'f32', layout = '', chw = [] } = options;
    const name = `constant ${String(fill)} ${dtype} ${showShape(shape)} ${layout} ${chw.join(' ')}`;
    const known = this.#leaves.get(name);
    return known ?? this.#leaf('constant', name, shape, { ...options, fill });
  }

  /** Names a value that a run may fetch. */
  output(name: string, value: Value): void {
    if (this.outputs.has(name)) throw expected('a new name', 'output', name);
    this.outputs.set(name, value);
  }

  /** Asks for a node whose effect is wanted, whoever reads its output. */
  update(value: Value): void {
    this.updates.push(value);
  }

  /** The leaf of that name, if there is one. */
  leaf(name: string): Value | undefined {
    return this.#leaves.get(name);
  }

  /** Parameters in order of creation. */
  parameters(): Value[] {
    return [...this.#leaves.values()].filter((value) => value.node.kind === 'parameter');
  }

  /** Adds a node, or returns the equal one that is there: pure ops are computed once. */
  add(parts: NodeParts, key?: string): Node {
    const known = key === undefined ? undefined : this.#interned.get(key);
    if (known) return known;
    const outputs: Value[] = [];
    const node: Node = {
      graph: this,
      id: this.nodes.length,
      kind: parts.kind,
      name: parts.name,
      op: parts.op,
      attrs: parts.attrs ?? {},
      inputs: parts.inputs ?? [],
      outputs,
      fill: parts.fill ?? 0,
    };
    parts.types.forEach((type, index) =>
      outputs.push(new Value(node, index, this.#values++, type)),
    );
    this.nodes.push(node);
    if (key !== undefined) this.#interned.set(key, node);
    return node;
  }

  #leaf(kind: NodeKind, name: string, shape: Shape, options: LeafOptions): Value {
    checkShape(shape, name);
    if (this.#leaves.has(name)) throw expected('a new name', kind, name);
    const { layout = shape.length === 4 ? 'maps' : 'rows', dtype = 'f32', chw, fill = 0 } = options;
    const rank =
      layout === 'rows' ? shape.length <= 2 : shape.length === (layout === 'linear_weight' ? 2 : 4);
    if (!rank) throw expected(`a shape that fits ${layout}`, name, shape, { code: 'E_SHAPE' });
    if (chw && sizeOf(chw) !== shape[1]) {
      throw expected(`${String(shape[1])} = C * H * W`, `chw of ${name}`, chw, { code: 'E_SHAPE' });
    }
    const node = this.add({ kind, name, types: [{ shape, dtype, layout, chw }], fill });
    const value = outputOf(node, 0);
    this.#leaves.set(name, value);
    return value;
  }
}

/** Output `index` of a node. */
export function outputOf(node: Node, index: number): Value {
  const value = node.outputs[index];
  if (!value) throw new PartlensError('E_INTERNAL', `${node.name} has no output ${String(index)}`);
  return value;
}

/** Type of a kernel attribute, both 4 bytes. */
export type AttrType = 'i32' | 'f32';

export interface VjpArguments<
  I extends string = string,
  O extends string = string,
  A extends string = string,
> {
  inputs: Readonly<Record<I, Value>>;
  outputs: Readonly<Record<O, Value>>;
  /** Gradient of the first output; further outputs are by-products without one. */
  grad: Value;
  attrs: Readonly<Record<A, number>>;
}

export interface OpDefinition {
  /** The kernel's name, `<op>_forward` or `<op>_backward_<with respect to>`. */
  readonly name: string;
  /** Argument name -> signature, see `defineOp`. */
  readonly inputs: Readonly<Record<string, string>>;
  readonly outputs: Readonly<Record<string, string>>;
  readonly attrs: Readonly<Record<string, AttrType>>;
  /** Gradients of the inputs as thunks: what nobody asks for is not computed. */
  vjp?(this: void, args: VjpArguments): Partial<Record<string, () => Value>>;
  /** True when an output lives in the memory of an input (`w_out`). */
  readonly updates: boolean;
}

interface OpSpec<I extends string, O extends string, A extends string> {
  inputs: Record<I, string>;
  outputs: Record<O, string>;
  attrs?: Record<A, AttrType>;
  /** Sizes of letters that no input shows. */
  derive?: Derive;
  vjp?(this: void, args: VjpArguments<I, O, A>): Partial<Record<I, () => Value>>;
}

/** Builds one node. `sizes` gives letters that neither an input nor `derive` tells. */
export type OpCall<I extends string, O extends string, A extends string> = (
  inputs: Record<I, Value | undefined>,
  attrs: Record<A, number>,
  sizes?: Readonly<Record<string, number>>,
) => Record<O, Value>;

/** Every op defined so far, by kernel name: what `binding.ts` compares with the addon. */
export const registry = new Map<string, OpDefinition>();

/**
 * Defines an op: its kernel's name, shape rules and gradient.
 *
 * A signature is `[i32] layout[?] letters`: `maps N C H W`, `rows? O` (optional), `i32 rows N`,
 * `rows` (a scalar), `any` (rows or maps of any size), `= x` (the type of input x), or `=? x` (that
 * type, optional). A letter that occurs twice must have one size; a digit is that size. A flattened
 * (C, H, W) travels with the last letter of rows and linear weights. An output called `w_out` lives in
 * the memory of input `w`.
 */
export function defineOp<I extends string, O extends string, A extends string = never>(
  name: string,
  spec: OpSpec<I, O, A>,
): OpCall<I, O, A> {
  const inputNames = Object.keys(spec.inputs) as I[];
  const outputNames = Object.keys(spec.outputs) as O[];
  const attrs: Record<string, AttrType> = spec.attrs ?? {};
  const op: OpDefinition = {
    name,
    inputs: spec.inputs,
    outputs: spec.outputs,
    attrs,
    ...(spec.vjp ? { vjp: spec.vjp } : {}),
    updates: outputNames.some((output) => output.endsWith('_out')),
  };
  registry.set(name, op);

  return (inputs, attrValues, sizes = {}) => {
    const binding = new SignatureBinding(name, sizes);
    const values = inputNames.map((input) => inputs[input]);
    inputNames.forEach((input, i) => {
      binding.match(input, spec.inputs[input], values[i]);
    });
    binding.derive(spec.derive, attrValues);
    const types = outputNames.map((output) => binding.type(output, spec.outputs[output]));
    const graph = values.find((value) => value !== undefined)?.node.graph;
    if (!graph) throw expected('at least one input', 'inputs', undefined, { op: name });
    const key = [name, ...values.map((v) => v?.id), JSON.stringify([attrValues, types])].join('|');
    const node = graph.add(
      { kind: 'op', name, types, op, attrs: attrValues, inputs: values },
      op.updates ? undefined : key,
    );
    return Object.fromEntries(
      outputNames.map((output, i) => [output, outputOf(node, i)]),
    ) as Record<O, Value>;
  };
}
