import { show } from '../errors.js';
import { modelError, nodeError } from './onnx_error.js';
import type { OnnxModel, OnnxNode } from './onnx_model.js';
import type { NodeProto } from './onnx_proto.js';

/**
 * The nodes that `wanted` values need, each after its inputs. A value that nobody computes, a value
 * computed twice and a cycle throw `E_ONNX`; nodes that nothing wanted needs are left out.
 */
export function orderNodes(model: OnnxModel, wanted: readonly string[]): OnnxNode[] {
  const producers = producersOf(model);
  const leaves = new Set([...model.initializers.keys(), ...model.inputs.map(({ name }) => name)]);
  const state = new Map<OnnxNode, 'open' | 'done'>();
  const ordered: OnnxNode[] = [];
  /** Nodes on the current path, each with the inputs that are still to be visited. */
  const path: { node: OnnxNode; rest: string[] }[] = [];

  const enter = (name: string, reader: OnnxNode | undefined): void => {
    if (name === '' || leaves.has(name)) return;
    const node = producers.get(name);
    if (!node) throw missing(name, reader);
    if (state.get(node) === 'open')
      throw cycle(
        path.map((step) => step.node),
        node,
      );
    if (state.get(node) === 'done') return;
    state.set(node, 'open');
    path.push({ node, rest: [...node.inputs].reverse() });
  };

  for (const name of wanted) {
    enter(name, undefined);
    for (let step = path.at(-1); step; step = path.at(-1)) {
      const next = step.rest.pop();
      if (next !== undefined) {
        enter(next, step.node);
        continue;
      }
      path.pop();
      state.set(step.node, 'done');
      ordered.push(step.node);
    }
  }
  return ordered;
}

function producersOf(model: OnnxModel): Map<string, OnnxNode> {
  const producers = new Map<string, OnnxNode>();
  const given = new Set([...model.initializers.keys(), ...model.inputs.map(({ name }) => name)]);
  for (const node of model.nodes) {
    for (const output of node.outputs) {
      if (output === '') continue;
      if (producers.has(output) || given.has(output)) {
        throw nodeError(node, 'outputs of new names', output);
      }
      producers.set(output, node);
    }
  }
  return producers;
}

function missing(name: string, reader: OnnxNode | undefined): Error {
  if (!reader) return modelError('a value of the graph', 'output', name);
  return nodeError(
    reader,
    'inputs that are computed or stored in the model',
    name,
    `The model has no initializer, no input and no node output named ${show(name)}.`,
  );
}

function cycle(path: readonly OnnxNode[], again: OnnxNode): Error {
  const names = path.slice(path.indexOf(again)).map(({ name }) => name);
  const shown = names.length > 8 ? [...names.slice(0, 7), '...'] : names;
  return nodeError(again, 'a graph without cycles', [again.name, ...shown.reverse()].join(' -> '));
}

/** Names that the graphs in a node's attributes read but do not make themselves. */
export function outerNames(node: NodeProto): string[] {
  const graphs = node.attribute.flatMap(({ g }) => (g ? [g] : []));
  return graphs.flatMap((graph) => {
    const own = new Set([
      ...graph.input.map(({ name }) => name),
      ...graph.initializer.map(({ name }) => name),
      ...graph.node.flatMap(({ output }) => output),
    ]);
    const read = [
      ...graph.node.flatMap((inner) => [...inner.input, ...outerNames(inner)]),
      ...graph.output.map(({ name }) => name),
    ];
    return read.filter((name) => name !== '' && !own.has(name));
  });
}
