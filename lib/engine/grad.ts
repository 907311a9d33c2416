import { expected, PartlensError } from '../errors.js';
import { outputOf, type Node, type Value } from './graph.js';
import { add, addScaled, viewLike } from './ops/index.js';

/** Where a gradient starts: d(total)/d(of) = gradient, times the scalar `scale`. */
export interface Seed {
  of: Value;
  /** Same shape as `of`; default 1, for scalars. */
  gradient?: Value;
  /** A scalar value; only where another gradient arrives at `of` too. */
  scale?: Value;
}

/**
 * Reverse mode: appends the nodes that compute d(sum of seeds)/d(wrt) and returns one gradient for
 * each of `wrt` (undefined where nothing arrives). Seeds may sit in the middle of the graph: their
 * gradient is added to what flows back from later nodes. Equal nodes are shared with earlier calls.
 */
export function gradient(seeds: readonly Seed[], wrt: readonly Value[]): (Value | undefined)[] {
  const graph = seeds[0]?.of.node.graph;
  if (!graph) throw expected('at least one seed', 'seeds', seeds.length, { op: 'gradient' });
  const wanted = dependents(graph.nodes, wrt);
  const adjoints = new Map<Value, Value>();
  const pending = new Map<Value, Seed[]>();
  for (const seed of seeds) pending.set(seed.of, [...(pending.get(seed.of) ?? []), seed]);

  const settle = (value: Value): Value | undefined => {
    for (const seed of pending.get(value) ?? []) plant(adjoints, seed);
    pending.delete(value);
    return adjoints.get(value);
  };

  for (const node of graph.nodes.toReversed()) {
    if (!wanted.has(node)) continue;
    const grads = node.outputs.map(settle);
    const grad = grads[0];
    if (!grad || node.inputs.length === 0) continue;
    for (const [input, thunk] of inputGradients(node, grad)) {
      if (!input || !wanted.has(input.node)) continue;
      const known = adjoints.get(input);
      adjoints.set(input, known ? add(known, thunk()) : thunk());
    }
  }
  return wrt.map((value) => adjoints.get(value));
}

/** Nodes whose value depends on one of `wrt`, those of `wrt` included. */
function dependents(nodes: readonly Node[], wrt: readonly Value[]): Set<Node> {
  const found = new Set<Node>(wrt.map((value) => value.node));
  for (const node of nodes) {
    if (node.inputs.some((input) => input && found.has(input.node))) found.add(node);
  }
  return found;
}

function plant(adjoints: Map<Value, Value>, { of, gradient: given, scale }: Seed): void {
  const { graph } = of.node;
  const seed = given ?? graph.constant(1, of.shape, { layout: of.layout });
  const known = adjoints.get(of);
  if (scale && !known) throw expected('another gradient', 'seed with a scale', of.node.name);
  const sum = known ? (scale ? addScaled(known, seed, scale) : add(known, seed)) : seed;
  adjoints.set(of, sum);
}

/** Pairs of (input, thunk of its gradient). */
function inputGradients(node: Node, grad: Value): [Value | undefined, () => Value][] {
  if (node.kind === 'view') {
    const [input] = node.inputs;
    return input ? [[input, (): Value => viewLike(grad, input)]] : [];
  }
  const { op } = node;
  if (!op) return [];
  const names = Object.keys(op.inputs);
  const inputs: Record<string, Value> = {};
  names.forEach((name, i) => {
    const input = node.inputs[i];
    if (input) inputs[name] = input;
  });
  const outputs = Object.fromEntries(
    Object.keys(op.outputs).map((name, i) => [name, outputOf(node, i)]),
  );
  const thunks = op.vjp?.({ inputs, outputs, grad, attrs: node.attrs });
  if (!thunks) throw new PartlensError('E_INTERNAL', `${op.name} has no gradient`);
  return Object.entries(thunks).flatMap(([name, thunk]) => (thunk ? [[inputs[name], thunk]] : []));
}
