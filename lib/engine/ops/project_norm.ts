import { defineOp, type Value } from '../graph.js';

const project = defineOp('project_norm', {
  inputs: { w: 'conv_weight O C R S', norm: 'rows O' },
  outputs: { w_out: '= w' },
});

/**
 * Gives each filter the Euclidean norm `norm[o]`: w[o] * norm[o] / |w[o]|, in place; a filter of zeros
 * stays. w (O, C, R, S), norm (O). No gradient: a step after the optimizer's.
 */
export function projectNorm(w: Value, norm: Value): Value {
  return project({ w, norm }, {}).w_out;
}
