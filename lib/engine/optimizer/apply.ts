import type { Value } from '../graph.js';

/** Each parameter with its gradient. */
export type Gradients = readonly (readonly [parameter: Value, gradient: Value])[];

export interface StepOptions {
  /** Factor on the learning rate of the parameter of that name, default 1. */
  lrScale?: (name: string) => number;
}

/** Makes the states that one step keeps for each parameter, appends the steps, asks for them. */
export function applyStep(
  gradients: Gradients,
  states: readonly [string, string],
  step: (w: Value, grad: Value, states: readonly [Value, Value]) => Value,
): Map<string, Value> {
  const updated = new Map<string, Value>();
  for (const [w, grad] of gradients) {
    const { graph, name } = w.node;
    const { shape, layout, chw } = w;
    const make = (state: string): Value =>
      graph.leaf(`${state}/${name}`) ?? graph.state(`${state}/${name}`, shape, { layout, chw });
    const next = step(w, grad, [make(states[0]), make(states[1])]);
    graph.update(next);
    updated.set(name, next);
  }
  return updated;
}
