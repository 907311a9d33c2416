import { defineOp, type Value } from '../graph.js';
import { gram } from './gram.js';

const ATTRS = { floor: 'f32', shrink: 'f32' } as const;

const backward = defineOp('overlap_backward', {
  inputs: { g: 'rows', gram: 'conv_weight D D 1 1' },
  outputs: { dgram: '= gram' },
  attrs: ATTRS,
});

const forward = defineOp('overlap_forward', {
  inputs: { gram: 'conv_weight D D 1 1' },
  outputs: { loss: 'rows' },
  attrs: ATTRS,
  vjp({ inputs: { gram }, grad, attrs }) {
    return { gram: () => backward({ g: grad, gram }, attrs).dgram };
  },
});

export interface OverlapOptions {
  /** Smallest energy of a filter, as a share of the mean: nearly silent filters have no say. Default 0.0025. */
  floor?: number;
  /** Keeps the loss of equal filters finite, -1/2 log(shrink). Default 0.01. */
  shrink?: number;
}

/**
 * Overlap of the filters of one layer, the information that the maps of one give about those of
 * another if both are normal: loss = mean over pairs f != g of -1/2 log(1 - (1 - shrink) s), with the
 * squared cosine s = G_fg^2 / (e_f e_g), G_fg = sum over images and positions of x_f x_g, e_f =
 * max(G_ff, floor mean G_ff). As the redundancy term of [Peng, Long, Ding 2005].
 *
 * x (N, D, n, n); loss a scalar, nats, >= 0: 0 where no two filters answer to the same place of the
 * same image. The gradient is exact.
 */
export function overlap(x: Value, { floor = 0.0025, shrink = 0.01 }: OverlapOptions = {}): Value {
  return forward({ gram: gram(x) }, { floor, shrink }).loss;
}
