import { defineOp } from '../graph.js';
import { NORM_ATTRS } from './norm_layer.js';

// Both norm_layers and the mix_tracks that reads them, in one sweep over the tracks: the normalised
// tracks are never written. Only `fuseCalls` makes these calls.

defineOp('norm_mix_forward', {
  inputs: {
    x_interp: 'maps N D P Q',
    x_ordin: '= x_interp',
    alpha_interp: 'rows D',
    alpha_ordin: 'rows D',
    w_p: 'rows',
  },
  outputs: {
    y: '= x_interp',
    p: 'rows',
    factor_interp: 'rows D',
    factor_ordin: 'rows D',
    alpha_interp_out: 'rows? D',
    alpha_ordin_out: 'rows? D',
  },
  attrs: NORM_ATTRS,
});

defineOp('norm_mix_backward', {
  inputs: {
    g: 'maps N D P Q',
    x_interp: '= g',
    x_ordin: '= g',
    factor_interp: 'rows D',
    factor_ordin: 'rows D',
    w_p: 'rows',
  },
  outputs: { dx_interp: '= g', dx_ordin: '= g', dw_p: 'rows' },
});
