import { defineOp } from '../graph.js';
import { CONVOLUTION_ATTRS } from './window.js';

// A 1x1 convolution and the depthwise convolution that alone reads it, each with its end, in one pass: the
// expanded maps are never written. Only `fuseCalls` makes these calls.

defineOp('expand_depthwise_forward', {
  inputs: {
    x: 'maps N C H W',
    w_expand: 'conv_weight O C 1 1',
    b_expand: 'rows? O',
    w: 'conv_weight O 1 R S',
    b: 'rows? O',
  },
  outputs: { y: 'maps N O P Q' },
  attrs: {
    ...CONVOLUTION_ATTRS,
    expand_relu: 'i32',
    expand_activation: 'i32',
    expand_alpha: 'f32',
    expand_beta: 'f32',
  },
});
