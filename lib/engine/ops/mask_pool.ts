import { defineOp } from '../graph.js';
import { POOL_ATTRS } from './pool.js';

// mask_layer and the max-pooling after it in one pass: the masked maps are never written. Only
// `fuseCalls` makes these calls.

defineOp('mask_pool_forward', {
  inputs: { x: 'maps N D n m' },
  outputs: { y: 'maps N D P Q', index: 'i32 maps? N D P Q', peak: 'i32 rows N D' },
  attrs: { ...POOL_ATTRS, beta: 'f32' },
});

defineOp('mask_pool_backward', {
  inputs: {
    g: 'maps N D P Q',
    index: 'i32 maps N D P Q',
    peak: 'i32 rows N D',
    gate: 'maps? N D n m',
  },
  outputs: { dx: 'maps N D n m' },
  attrs: { ...POOL_ATTRS, beta: 'f32' },
});
