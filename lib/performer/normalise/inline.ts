import { show } from '../../errors.js';
import { modelError, nodeError } from '../onnx_error.js';
import { outerNames } from '../onnx_graph.js';
import type { AttributeProto, FunctionProto, GraphProto, ModelProto } from '../onnx_proto.js';
import type { NodeProto, OperatorSetIdProto, TensorProto } from '../onnx_proto.js';
import type { OnnxBranch, OnnxNode } from '../onnx_model.js';

/** Nodes that calls and branches may come to: functions that call one twice double themselves. */
const MAX_NODES = 2 ** 18;

/** Functions and branches inside one another. */
const MAX_DEPTH = 32;

/** What names and attributes mean where a node stands. */
interface Scope {
  readonly opset: number;
  /** In front of the names of nodes. */
  readonly prefix: string;
  readonly depth: number;
  /** The name that a value has in the whole model. */
  readonly value: (name: string) => string;
  /** Attributes of the call, inside a function. */
  readonly attributes?: ReadonlyMap<string, AttributeProto>;
}

/** The nodes of a graph, with functions inlined and the branches of each If named apart. */
export interface FlatGraph {
  nodes: OnnxNode[];
  initializers: ReadonlyMap<string, TensorProto>;
}

/** The default domain under any of its names. */
export function domainOf(domain: string): string {
  return domain === 'ai.onnx' ? '' : domain;
}

/**
 * Lists the nodes of a graph without functions of the model: each call becomes the function's nodes,
 * its attributes put in, its values under names of their own. `opsetOf` checks the imports of a
 * function. Functions that never end throw `E_ONNX`.
 */
export function flattenGraph(
  proto: ModelProto,
  graph: GraphProto,
  opset: number,
  opsetOf: (imports: readonly OperatorSetIdProto[], name: string) => number,
): FlatGraph {
  const flattening = new Flattening(proto, graph, opsetOf);
  const nodes: OnnxNode[] = [];
  const scope: Scope = { opset, prefix: '', depth: 0, value: (name) => name };
  for (const [index, node] of graph.node.entries()) flattening.add(node, index, scope, nodes);
  return { nodes, initializers: flattening.initializers };
}

class Flattening {
  readonly initializers: Map<string, TensorProto>;
  readonly #functions: ReadonlyMap<string, FunctionProto>;
  readonly #opsetOf: (imports: readonly OperatorSetIdProto[], name: string) => number;
  readonly #taken: Set<string>;
  readonly #counts = new Map<string, number>();
  #nodes = 0;

  constructor(
    proto: ModelProto,
    graph: GraphProto,
    opsetOf: (imports: readonly OperatorSetIdProto[], name: string) => number,
  ) {
    this.#functions = new Map(proto.functions.map((one) => [functionKey(one, one.name), one]));
    this.#opsetOf = opsetOf;
    this.initializers = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
    this.#taken = new Set(this.initializers.keys());
    for (const { name } of graph.input) this.#taken.add(name);
    for (const node of graph.node) for (const name of node.output) this.#taken.add(name);
  }

  add(proto: NodeProto, index: number, scope: Scope, nodes: OnnxNode[]): void {
    const node = this.#node(proto, index, scope);
    this.#nodes += 1;
    if (this.#nodes > MAX_NODES || scope.depth > MAX_DEPTH) {
      const most = `${String(MAX_NODES)} nodes, functions ${String(MAX_DEPTH)} deep`;
      throw nodeError(node, `at most ${most}`, 'more');
    }
    const called = this.#functions.get(functionKey(proto, proto.opType));
    if (called) this.#call(node, called, scope, nodes);
    else if (node.domain === '' && node.opType === 'If') nodes.push(this.#if(node, scope));
    else nodes.push({ ...node, inputs: [...node.inputs, ...outerNames(proto).map(scope.value)] });
  }

  #node(proto: NodeProto, index: number, scope: Scope): OnnxNode {
    const name = proto.name === '' ? `${proto.opType}_${String(index)}` : proto.name;
    const attributes = new Map<string, AttributeProto>();
    for (const attribute of proto.attribute) {
      if (attribute.refAttrName === '') attributes.set(attribute.name, attribute);
      else {
        const given = scope.attributes?.get(attribute.refAttrName);
        if (given) attributes.set(attribute.name, { ...given, name: attribute.name });
      }
    }
    return {
      name: scope.prefix + name,
      opType: proto.opType,
      opset: scope.opset,
      domain: domainOf(proto.domain),
      inputs: proto.input.map(scope.value),
      outputs: proto.output.map(scope.value),
      attributes,
    };
  }

  /** Puts the nodes of a function in the place of its call. */
  #call(call: OnnxNode, called: FunctionProto, scope: Scope, nodes: OnnxNode[]): void {
    const names = new Map<string, string>([['', '']]);
    for (const [i, name] of called.input.entries()) names.set(name, call.inputs[i] ?? '');
    const passed: [from: string, to: string][] = [];
    for (const [i, name] of called.output.entries()) {
      const to = call.outputs[i] ?? '';
      if (to === '') continue;
      const from = names.get(name);
      if (from === undefined) names.set(name, to);
      else passed.push([from, to]);
    }
    const prefix = `${call.name}/`;
    const defaults = called.attributeProto.map((one) => [one.name, one] as const);
    const inner: Scope = {
      opset: this.#opsetOf(called.opsetImport, `function ${show(called.name)}`),
      prefix,
      depth: scope.depth + 1,
      attributes: new Map([...defaults, ...call.attributes]),
      value: (name) => {
        const known = names.get(name);
        if (known !== undefined) return known;
        const made = this.#unique(prefix + name);
        names.set(name, made);
        return made;
      },
    };
    for (const [index, node] of called.node.entries()) this.add(node, index, inner, nodes);
    for (const [from, to] of passed) nodes.push(identity(call, from, to));
  }

  /** An If reads, beside its condition, what its branches read from outside. */
  #if(node: OnnxNode, scope: Scope): OnnxNode {
    const captured = new Set<string>();
    const branch = (name: string): OnnxBranch => {
      const graph = node.attributes.get(name)?.g;
      if (graph) return this.#branch(node, graph, scope, captured);
      throw nodeError(node, `a graph for ${name}`, undefined);
    };
    const branches = { then: branch('then_branch'), else: branch('else_branch') };
    return { ...node, inputs: [...node.inputs.slice(0, 1), ...captured], branches };
  }

  #branch(node: OnnxNode, graph: GraphProto, scope: Scope, captured: Set<string>): OnnxBranch {
    const own = new Map<string, string>();
    const define = (name: string): string => {
      const known = own.get(name);
      if (known !== undefined || name === '') return known ?? '';
      const made = this.#unique(name);
      own.set(name, made);
      return made;
    };
    for (const tensor of graph.initializer) this.initializers.set(define(tensor.name), tensor);
    for (const one of graph.node) one.output.forEach(define);
    const outside = scope.value;
    const inner: Scope = {
      ...scope,
      prefix: `${node.name}/`,
      depth: scope.depth + 1,
      value: (name) => own.get(name) ?? outside(name),
    };
    const nodes: OnnxNode[] = [];
    for (const [index, one] of graph.node.entries()) this.add(one, index, inner, nodes);
    const outputs = graph.output.map(({ name }) => inner.value(name));
    const made = new Set([...own.values(), ...nodes.flatMap((one) => one.outputs)]);
    const read = [...nodes.flatMap((one) => one.inputs), ...outputs];
    for (const name of read) if (name !== '' && !made.has(name)) captured.add(name);
    return { nodes, outputs };
  }

  #unique(name: string): string {
    let made = name;
    for (let k = this.#counts.get(name) ?? 0; this.#taken.has(made); k++) {
      made = `${name}_${String(k)}`;
      this.#counts.set(name, k + 1);
    }
    this.#taken.add(made);
    return made;
  }
}

function functionKey(one: { domain: string; overload: string }, name: string): string {
  return JSON.stringify([domainOf(one.domain), name, one.overload]);
}

/** A node that gives `from` the name `to`. */
export function identity(node: OnnxNode, from: string, to: string): OnnxNode {
  return {
    ...node,
    name: `${node.name}/${to}`,
    opType: 'Identity',
    domain: '',
    inputs: [from],
    outputs: [to],
    attributes: new Map(),
  };
}

/**
 * What an If with a known condition comes to: the nodes of the branch taken, then one Identity for
 * each output. The nodes stand in the order of the file, as ONNX asks of a branch.
 */
export function branchNodes(node: OnnxNode, condition: boolean): OnnxNode[] {
  const { branches, ...rest } = node;
  const branch = condition ? branches?.then : branches?.else;
  if (!branch) throw modelError('an If with two branches', node.name, node.opType);
  const outputs = node.outputs.map((to, i) => identity(rest, branch.outputs[i] ?? '', to));
  return [...branch.nodes, ...outputs.filter((one) => one.outputs[0] !== '')];
}
