import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const ATTRS = {
  pad_top: 'i32',
  pad_left: 'i32',
  pad_bottom: 'i32',
  pad_right: 'i32',
  mode: 'i32',
  value: 'f32',
} as const;

const backward = defineOp('pad2d_backward', {
  inputs: { g: 'maps N C P Q' },
  outputs: { dx: 'maps N C H W' },
  attrs: ATTRS,
});

const forward = defineOp('pad2d_forward', {
  inputs: { x: 'maps N C H W' },
  outputs: { y: 'maps N C P Q' },
  attrs: ATTRS,
  derive: ({ H = 0, W = 0 }, { pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0 }) => ({
    P: H + pad_top + pad_bottom,
    Q: W + pad_left + pad_right,
  }),
  vjp({ inputs: { x }, grad, attrs }) {
    const [, , H = 1, W = 1] = x.shape;
    return { x: () => backward({ g: grad }, attrs, { H, W }).dx };
  },
});

/** The number of a mode is its place here. */
const MODES = ['constant', 'reflect', 'edge', 'wrap'] as const;

export interface Pad2dOptions {
  /** Cells beside the map: top, left, bottom, right; each >= 0. */
  pad: readonly [number, number, number, number];
  /**
   * What they hold: one value; the map mirrored at its outermost cells; the nearest cell; the map's other
   * side. Default constant.
   */
  mode?: (typeof MODES)[number];
  /** Of mode constant, default 0. */
  value?: number;
}

/**
 * Maps with a margin (ONNX Pad): x (N, C, H, W), y (N, C, H + top + bottom, W + left + right). The
 * gradient is exact. Throws E_ARGUMENT for reflect with a margin as wide as the map, for wrap with a
 * wider one.
 */
export function pad2d(x: Value, { pad, mode = 'constant', value = 0 }: Pad2dOptions): Value {
  const [, , H = 1, W = 1] = x.shape;
  const number = MODES.indexOf(mode);
  if (number < 0) throw expected(`one of ${MODES.join(', ')}`, 'mode', mode, { op: 'pad2d' });
  if (!pad.every((side) => Number.isInteger(side) && side >= 0)) {
    throw expected('four integers >= 0', 'pad', pad, { op: 'pad2d' });
  }
  const [top, left, bottom, right] = pad;
  const most = { constant: Infinity, edge: Infinity, reflect: -1, wrap: 0 }[mode];
  if (Math.max(top, bottom) > H + most || Math.max(left, right) > W + most) {
    const limit = mode === 'reflect' ? 'pad < size' : 'pad <= size';
    const what = `${limit} of maps ${String(H)} x ${String(W)} in mode ${mode}`;
    throw expected(what, 'pad', pad, { op: 'pad2d' });
  }
  const sides = { pad_top: top, pad_left: left, pad_bottom: bottom, pad_right: right };
  return forward({ x }, { ...sides, mode: number, value }).y;
}
