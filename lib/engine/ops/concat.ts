import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const backwardMaps = defineOp('concat_backward', {
  inputs: { g: 'any' },
  outputs: { da: 'maps? N A H W', db: 'maps? N B H W' },
});

const forwardMaps = defineOp('concat_forward', {
  inputs: { a: 'maps N A H W', b: 'maps N B H W' },
  outputs: { y: 'maps N C H W' },
  derive: ({ A = 0, B = 0 }) => ({ C: A + B }),
  vjp({ inputs: { a, b }, grad }) {
    const [N = 1, A = 1, H = 1, W = 1] = a.shape;
    const parts = (): { da: Value; db: Value } =>
      backwardMaps({ g: grad }, {}, { N, A, B: b.shape[1] ?? 1, H, W });
    return { a: () => parts().da, b: () => parts().db };
  },
});

/**
 * Joins maps along the channels: a (N, A, H, W), b (N, B, H, W), y (N, A + B, H, W). The gradient is
 * exact. Three or more: concat(concat(a, b), c).
 */
export function concat(a: Value, b: Value): Value {
  if (a.layout !== 'maps' || b.layout !== 'maps') {
    throw expected('maps (N, C, H, W)', 'a, b', `${a.layout}, ${b.layout}`, {
      op: 'concat',
      code: 'E_SHAPE',
    });
  }
  return forwardMaps({ a, b }, {}).y;
}
