import { defineOp } from '../graph.js';

// All that training does to the weight of a fully connected layer on its way back, in one pass over
// the weight: dx = g w, dw = g^T x (never written) and the optimizer's step. Only `fuseCalls` makes
// these calls.

defineOp('linear_adam_step', {
  inputs: {
    g: 'rows N O',
    x: 'rows N F',
    w: 'linear_weight O F',
    m: '= w',
    v: '= w',
    hyper: 'rows 3',
  },
  outputs: { w_out: '= w', m_out: '= w', v_out: '= w', dx: 'rows? N F' },
  attrs: { lr_scale: 'f32', beta1: 'f32', beta2: 'f32', eps: 'f32', weight_decay: 'f32' },
});

defineOp('linear_sgd_step', {
  inputs: { g: 'rows N O', x: 'rows N F', w: 'linear_weight O F', v: '= w', hyper: 'rows 3' },
  outputs: { w_out: '= w', v_out: '= w', dx: 'rows? N F' },
  attrs: { lr_scale: 'f32', momentum: 'f32', weight_decay: 'f32' },
});
