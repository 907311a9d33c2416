import { defineOp, type Value } from '../graph.js';

const backward = defineOp('mix_tracks_backward', {
  inputs: { g: 'maps N D P Q', x_interp: '= g', x_ordin: '= g', w_p: 'rows' },
  outputs: { dx_interp: '= g', dx_ordin: '= g', dw_p: 'rows' },
});

const forward = defineOp('mix_tracks_forward', {
  inputs: { x_interp: 'maps N D P Q', x_ordin: '= x_interp', w_p: 'rows' },
  outputs: { y: '= x_interp', p: 'rows' },
  vjp({ inputs: { x_interp, x_ordin, w_p }, grad }) {
    const all = (): { dx_interp: Value; dx_ordin: Value; dw_p: Value } =>
      backward({ g: grad, x_interp, x_ordin, w_p }, {});
    return {
      x_interp: () => all().dx_interp,
      x_ordin: () => all().dx_ordin,
      w_p: () => all().dw_p,
    };
  },
});

/**
 * Encoder output: y = p * x_interp + (1 - p) * x_ordin, p = sigmoid(w_p). [Zhang 2018]
 *
 * Tracks and y (N, D, P, Q); w_p and p scalars, p in 0..1: the weight of the parts'
 * track, not the share that parts carry. The gradient is exact.
 */
export function mixTracks(xInterp: Value, xOrdin: Value, wP: Value): { y: Value; p: Value } {
  return forward({ x_interp: xInterp, x_ordin: xOrdin, w_p: wP }, {});
}
