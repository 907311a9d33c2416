import { defineOp, type Value } from '../graph.js';
import { checkChannels } from './channels.js';

const backward = defineOp('affine_backward', {
  inputs: { g: 'any', scale: 'rows C', y: '=? g' },
  outputs: { dx: '= g' },
});

const forward = defineOp('affine_forward', {
  inputs: { x: 'any', scale: 'rows C', shift: 'rows C' },
  outputs: { y: '= x' },
  attrs: { relu: 'i32' },
  vjp: ({ inputs: { scale }, outputs: { y }, grad, attrs }) => ({
    x: () => backward({ g: grad, scale, y: attrs.relu ? y : undefined }, {}).dx,
  }),
});

export interface AffineOptions {
  /** max(y, 0) in the same pass, default false. */
  relu?: boolean;
}

/**
 * y = scale[c] x + shift[c]: x maps (N, C, H, W), scale and shift rows (C); or x rows (N, F), scale and
 * shift (F), in C, H, W order where the rows are flattened maps. A batch normalisation that is not
 * trained. The gradient of x is exact; scale and shift have none.
 */
export function affine(
  x: Value,
  scale: Value,
  shift: Value,
  { relu = false }: AffineOptions = {},
): Value {
  checkChannels('affine', x, { scale });
  return forward({ x, scale, shift }, { relu: Number(relu) }).y;
}
