import { defineOp, type Value } from '../graph.js';

export const NORM_ATTRS = {
  training: 'i32',
  momentum: 'f32',
  floor: 'f32',
  scale: 'f32',
  silent: 'f32',
} as const;

const backward = defineOp('norm_layer_backward', {
  inputs: { g: 'maps N D P Q', factor: 'rows D' },
  outputs: { dx: '= g' },
});

const forward = defineOp('norm_layer_forward', {
  inputs: { x: 'maps N D P Q', alpha: 'rows D' },
  outputs: { y: '= x', factor: 'rows D', alpha_out: 'rows? D' },
  attrs: NORM_ATTRS,
  vjp: ({ outputs: { factor }, grad }) => ({ x: () => backward({ g: grad, factor }, {}).dx }),
});

export interface NormLayerOptions {
  /** Update alpha with this batch first. */
  training: boolean;
  /** Keep the updated alpha, default true: false tries a batch and leaves the state alone. */
  keep?: boolean;
  /** Share of the old running mean, default 0.9. */
  momentum?: number;
  /** Smallest alpha as a share of the mean over filters, default 0.05. */
  floor?: number;
  /** Mean of a normalised filter's sum over positions; default sqrt(P * Q). */
  scale?: number;
  /** Mean alpha below which y is 0, default 1e-3. */
  silent?: number;
}

/**
 * Brings all filters to one strength: y_k = x_k * scale / max(alpha_k, floor * mean_k alpha), alpha_k
 * the running mean over images of sum_positions max(x_k, 0). [Zhang 2018]
 *
 * x, y (N, D, P, Q); alpha (D), a state with fill -1 (the first batch initialises it). In training
 * alpha is updated with the batch, then used. The gradient is a surrogate: alpha counts as a constant.
 * Where the mean of alpha is below `silent` (inputs of mean 1 give alphas of 10 to 100), all filters
 * have died in training and alpha decays towards 0: y is 0 then, for what an unseen image still stirs
 * would be multiplied without bound.
 */
export function normLayer(x: Value, alpha: Value, options: NormLayerOptions): Value {
  const [, , P = 1, Q = 1] = x.shape;
  const { training, keep = true, momentum = 0.9, floor = 0.05, silent = 1e-3 } = options;
  const { scale = Math.sqrt(P * Q) } = options;
  const attrs = { training: Number(training), momentum, floor, scale, silent };
  const { y, alpha_out } = forward({ x, alpha }, attrs);
  if (training && keep) x.node.graph.update(alpha_out);
  return y;
}
