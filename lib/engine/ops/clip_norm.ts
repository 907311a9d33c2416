import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const total = defineOp('clip_norm_total', {
  inputs: { x: 'any', before: 'rows?' },
  outputs: { norm: 'rows' },
});

const scaled = defineOp('clip_norm_scale', {
  inputs: { grad: 'any', norm: 'rows' },
  outputs: { y: '= grad' },
  attrs: { most: 'f32' },
});

/**
 * Clipping by the global norm: y_i = g_i * min(1, most / |g|), |g| the norm of all gradients together,
 * of any shapes and layouts. The clipped gradients in their order; they have no gradient. As
 * [Pascanu, Mikolov, Bengio 2013]. Throws `E_ARGUMENT` unless `most` > 0.
 */
export function clipNorm(gradients: readonly Value[], { most }: { most: number }): Value[] {
  if (!(most > 0)) throw expected('a number > 0', 'most', most, { op: 'clip_norm' });
  let norm: Value | undefined;
  for (const x of gradients) norm = total({ x, before: norm }, {}).norm;
  return gradients.map((grad) => (norm ? scaled({ grad, norm }, { most }).y : grad));
}
