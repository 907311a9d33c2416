import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const backward = defineOp('clip_backward', {
  inputs: { g: 'any', x: '= g' },
  outputs: { dx: '= g' },
  attrs: { lo: 'f32', hi: 'f32' },
});

const forward = defineOp('clip_forward', {
  inputs: { x: 'any' },
  outputs: { y: '= x' },
  attrs: { lo: 'f32', hi: 'f32' },
  vjp: ({ inputs: { x }, grad, attrs }) => ({ x: () => backward({ g: grad, x }, attrs).dx }),
});

/** y = min(max(x, lo), hi), any shape. The gradient is exact away from lo and hi. */
export function clip(x: Value, { lo, hi }: { lo: number; hi: number }): Value {
  if (!(lo <= hi)) throw expected('lo <= hi', 'lo, hi', [lo, hi], { op: 'clip' });
  return forward({ x }, { lo, hi }).y;
}
