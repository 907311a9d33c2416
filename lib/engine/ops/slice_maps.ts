import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

const ATTRS = {
  channel_first: 'i32',
  channel_step: 'i32',
  row_first: 'i32',
  row_step: 'i32',
  column_first: 'i32',
  column_step: 'i32',
} as const;

const backward = defineOp('slice_maps_backward', {
  inputs: { g: 'maps N A P Q' },
  outputs: { dx: 'maps N C H W' },
  attrs: ATTRS,
});

const forward = defineOp('slice_maps_forward', {
  inputs: { x: 'maps N C H W' },
  outputs: { y: 'maps N A P Q' },
  attrs: ATTRS,
  vjp({ inputs: { x }, grad, attrs }) {
    const [, C = 1, H = 1, W = 1] = x.shape;
    return { x: () => backward({ g: grad }, attrs, { C, H, W }).dx };
  },
});

/** `count` places of an axis: first, first + step, ... `step` may be negative, default 1. */
export interface Stretch {
  first: number;
  step?: number;
  count: number;
}

export interface SliceMapsOptions {
  /** Each defaults to the whole axis. */
  channels?: Stretch;
  rows?: Stretch;
  columns?: Stretch;
}

/**
 * A part of maps: y[n, a, p, q] = x[n, first + a step, ...] with a stretch of each axis. x (N, C, H, W),
 * y (N, channels.count, rows.count, columns.count). The gradient is exact. Throws E_ARGUMENT for a
 * stretch that leaves its axis.
 */
export function sliceMaps(x: Value, options: SliceMapsOptions = {}): Value {
  if (x.layout !== 'maps') {
    throw expected('maps (N, C, H, W)', 'x', x.layout, { op: 'slice_maps', code: 'E_SHAPE' });
  }
  const [, C = 1, H = 1, W = 1] = x.shape;
  const channels = stretch('channels', options.channels, C);
  const rows = stretch('rows', options.rows, H);
  const columns = stretch('columns', options.columns, W);
  const attrs = {
    channel_first: channels.first,
    channel_step: channels.step,
    row_first: rows.first,
    row_step: rows.step,
    column_first: columns.first,
    column_step: columns.step,
  };
  return forward({ x }, attrs, { A: channels.count, P: rows.count, Q: columns.count }).y;
}

function stretch(name: string, given: Stretch | undefined, size: number): Required<Stretch> {
  const { first, step = 1, count } = given ?? { first: 0, count: size };
  const last = first + step * (count - 1);
  const whole = [first, step, count].every((value) => Number.isInteger(value));
  const there = first >= 0 && first < size && last >= 0 && last < size;
  if (!whole || step === 0 || Math.abs(step) > 0x7fffffff || count < 1 || !there) {
    const what = `integers first, step, count with count >= 1 places from 0 to ${String(size - 1)}`;
    throw expected(what, name, [first, step, count], { op: 'slice_maps' });
  }
  return { first, step, count };
}
