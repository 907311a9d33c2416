import { defineOp, type Value } from '../graph.js';

const TABLES = {
  row_low: 'i32 rows P',
  row_high: 'i32 rows P',
  row_share: 'rows P',
  column_low: 'i32 rows Q',
  column_high: 'i32 rows Q',
  column_share: 'rows Q',
} as const;

const backward = defineOp('resize2d_backward', {
  inputs: { g: 'maps N C P Q', ...TABLES },
  outputs: { dx: 'maps N C H W' },
});

const forward = defineOp('resize2d_forward', {
  inputs: { x: 'maps N C H W', ...TABLES },
  outputs: { y: 'maps N C P Q' },
  vjp({ inputs: { x, ...tables }, grad }) {
    const [, , H = 1, W = 1] = x.shape;
    return { x: () => backward({ g: grad, ...tables }, {}, { H, W }).dx };
  },
});

/** Where the cells of one axis of y come from: between `low` and `high` of x, `share` of it `high`. */
export interface ResizeAxis {
  /** (P) int32, places of x; one outside counts as the nearest inside. */
  low: Value;
  high: Value;
  /** (P) float32, 0..1; 0 takes `low` alone: nearest neighbour. */
  share: Value;
}

/**
 * Maps of another height and width (ONNX Resize, nearest and linear): on each axis
 * y[p] = (1 - share[p]) x[low[p]] + share[p] x[high[p]]. x (N, C, H, W), tables of (P) rows and (Q)
 * columns, y (N, C, P, Q). The gradient with respect to x is exact; the tables have none.
 */
export function resize2d(
  x: Value,
  { rows, columns }: { rows: ResizeAxis; columns: ResizeAxis },
): Value {
  const tables = {
    row_low: rows.low,
    row_high: rows.high,
    row_share: rows.share,
    column_low: columns.low,
    column_high: columns.high,
    column_share: columns.share,
  };
  return forward({ x, ...tables }, {}).y;
}
