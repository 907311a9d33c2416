import { defineOp, registry, type Node, type Value } from '../graph.js';

// The weight gradient of a fully connected layer and the optimizer's step in one pass over the
// weights: dw = g^T x is never written. Only `fuseSteps` makes these calls.

defineOp('linear_adam_step', {
  inputs: {
    g: 'rows N O',
    x: 'rows N F',
    w: 'linear_weight O F',
    m: '= w',
    v: '= w',
    hyper: 'rows 3',
  },
  outputs: { w_out: '= w', m_out: '= w', v_out: '= w' },
  attrs: { lr_scale: 'f32', beta1: 'f32', beta2: 'f32', eps: 'f32', weight_decay: 'f32' },
});

defineOp('linear_sgd_step', {
  inputs: { g: 'rows N O', x: 'rows N F', w: 'linear_weight O F', v: '= w', hyper: 'rows 3' },
  outputs: { w_out: '= w', v_out: '= w' },
  attrs: { lr_scale: 'f32', momentum: 'f32', weight_decay: 'f32' },
});

const FUSED: Readonly<Record<string, string>> = {
  adam_step: 'linear_adam_step',
  sgd_step: 'linear_sgd_step',
};

/**
 * The one fusion rule of the plan: an optimizer step whose gradient is a `linear_backward_weight` that
 * nothing else reads and no output names becomes one call without that gradient. `readers` counts the
 * reads of each value, outputs of the graph included. Weights get the same bits either way; fetching the
 * gradient turns the fusion off. Returns the nodes in order, without those that are no longer needed.
 */
export function fuseSteps(nodes: readonly Node[], readers: ReadonlyMap<Value, number>): Node[] {
  const absorbed = new Set<Node>();
  const fused = nodes.map((node) => {
    const name = FUSED[node.op?.name ?? ''];
    const op = name === undefined ? undefined : registry.get(name);
    const [w, grad, ...rest] = node.inputs;
    if (!op || !grad || grad.node.op?.name !== 'linear_backward_weight') return node;
    if (readers.get(grad) !== 1) return node;
    absorbed.add(grad.node);
    return { ...node, op, inputs: [...grad.node.inputs, w, ...rest] };
  });
  return fused.filter((node) => !absorbed.has(node));
}
