import type { Node, Value } from './graph.js';

/** Optimizer steps that work element by element, whatever a tensor's shape. */
const STEPS = ['adam_step', 'sgd_step'];

/** Steps of one optimizer with the same attributes, which run as one over the memory of all. */
export interface StepGroup {
  /** Two or more, next to each other in the program. */
  members: Node[];
}

/**
 * Finds the optimizer steps that differ in nothing but their tensors and moves each group to its last
 * member's place. A step stays alone if its gradient is no call's own result, serves another step too,
 * or if something needs the new weight before the group is done.
 */
export function groupSteps(nodes: readonly Node[]): { nodes: Node[]; groups: StepGroup[] } {
  const found = new Map<string, Node[]>();
  const gradients = new Set<Value>();
  for (const node of nodes) {
    const gradient = ownGradient(node);
    if (!gradient || gradients.has(gradient)) continue;
    gradients.add(gradient);
    const hyper = node.inputs.at(-1)?.id ?? 0;
    const key = JSON.stringify([node.name, hyper, node.attrs]);
    found.set(key, [...(found.get(key) ?? []), node]);
  }
  const groups: StepGroup[] = [];
  const moved = new Map<Node, Node[]>();
  for (const members of found.values()) {
    const last = members.at(-1);
    if (!last || members.length < 2 || !canWait(members, nodes)) continue;
    groups.push({ members });
    for (const member of members) moved.set(member, member === last ? members : []);
  }
  return { nodes: nodes.flatMap((node) => moved.get(node) ?? [node]), groups };
}

/** The gradient of an elementwise step, if it is a tensor that a call made for itself. */
function ownGradient({ op, inputs }: Node): Value | undefined {
  const gradient = inputs[1];
  if (!op || !gradient || !STEPS.includes(op.name)) return undefined;
  const { kind, op: maker } = gradient.node;
  return kind === 'op' && !maker?.updates ? gradient : undefined;
}

/** Nothing reads what a member updates before the last one has run. */
function canWait(members: readonly Node[], nodes: readonly Node[]): boolean {
  const updated = new Set(members.flatMap(({ outputs }) => outputs));
  const last = nodes.findIndex((node) => node === members.at(-1));
  const before = nodes.slice(0, last).flatMap(({ inputs }) => inputs);
  return before.every((value) => !value || !updated.has(value));
}
