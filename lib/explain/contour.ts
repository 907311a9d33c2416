/** Samples of one cell along an axis: contours look smooth. */
const FINE = 6;

/**
 * Closed curves around where a map (n, n) exceeds a share of its maximum, as polygons of [x, y] in cells
 * (the centre of the first cell at 0, 0). The map is interpolated with cubic B-splines, which neither
 * overshoot nor move a peak, and counts as 0 outside. No polygon for a map that is 0 everywhere.
 */
export function contours(map: Float32Array, n: number, share = 0.5): [number, number][][] {
  const side = (n + 3) * FINE + 1;
  const field = interpolate(map, n, side);
  const most = field.reduce((a, b) => Math.max(a, b), 0);
  if (!(most > 0)) return [];
  return trace(field, side, share * most).map((polygon) =>
    polygon.map(([x, y]): [number, number] => [x / FINE - 2, y / FINE - 2]),
  );
}

/** Values at cells -2 .. n + 1 in steps of 1 / FINE: (side, side), 0 at the border. */
function interpolate(map: Float32Array, n: number, side: number): Float64Array {
  const along = new Float64Array(n * side);
  for (let row = 0; row < n; row++) {
    for (let j = 0; j < side; j++) {
      along[row * side + j] = spline(j / FINE - 2, n, (column) => map[row * n + column] ?? 0);
    }
  }
  return Float64Array.from({ length: side * side }, (_, at) =>
    spline(Math.floor(at / side) / FINE - 2, n, (row) => along[row * side + (at % side)] ?? 0),
  );
}

/** Cubic B-spline through the four samples around `position`; 0 outside of 0 .. n - 1. */
function spline(position: number, n: number, sample: (index: number) => number): number {
  const first = Math.floor(position) - 1;
  const t = position - Math.floor(position);
  const weights = [
    (1 - t) ** 3,
    3 * t ** 3 - 6 * t ** 2 + 4,
    -3 * t ** 3 + 3 * t ** 2 + 3 * t + 1,
    t ** 3,
  ];
  return weights.reduce((sum, weight, k) => {
    const index = first + k;
    return index < 0 || index >= n ? sum : sum + (weight / 6) * sample(index);
  }, 0);
}

/** Sides of a square between four samples. */
type Side = 'top' | 'right' | 'bottom' | 'left';

/** Marching squares: corners inside (8 top left, 4 top right, 2 bottom right, 1 bottom left) -> ways. */
const WAYS: Readonly<Record<number, readonly (readonly [Side, Side])[]>> = {
  1: [['bottom', 'left']],
  2: [['right', 'bottom']],
  3: [['right', 'left']],
  4: [['top', 'right']],
  5: [
    ['top', 'right'],
    ['bottom', 'left'],
  ],
  6: [['top', 'bottom']],
  7: [['top', 'left']],
  8: [['left', 'top']],
  9: [['bottom', 'top']],
  10: [
    ['left', 'top'],
    ['right', 'bottom'],
  ],
  11: [['right', 'top']],
  12: [['left', 'right']],
  13: [['bottom', 'right']],
  14: [['left', 'bottom']],
};

/** Polygons where the field (side, side) crosses a level; the border must lie below it. */
function trace(field: Float64Array, side: number, level: number): [number, number][][] {
  const value = (row: number, column: number): number => field[row * side + column] ?? 0;
  const next = new Map<number, number>();
  for (let row = 0; row + 1 < side; row++) {
    for (let column = 0; column + 1 < side; column++) {
      const corners = [
        value(row, column),
        value(row, column + 1),
        value(row + 1, column + 1),
        value(row + 1, column),
      ];
      const inside = corners.reduce((bits, corner) => 2 * bits + Number(corner > level), 0);
      for (const [from, to] of WAYS[inside] ?? []) {
        next.set(edge(from, row, column, side), edge(to, row, column, side));
      }
    }
  }
  const polygons: [number, number][][] = [];
  for (const start of next.keys()) {
    const polygon: [number, number][] = [];
    for (let at: number | undefined = start; at !== undefined;) {
      const after = next.get(at);
      next.delete(at);
      if (after !== undefined) polygon.push(crossing(at, side, level, value));
      at = after;
    }
    polygons.push(polygon);
  }
  return polygons;
}

/** Number of an edge between two neighbouring samples: twice the first sample, odd for downwards. */
function edge(which: Side, row: number, column: number, side: number): number {
  const at = row * side + column;
  return { top: 2 * at, left: 2 * at + 1, bottom: 2 * (at + side), right: 2 * at + 3 }[which];
}

/** Where the level is crossed on an edge, [x, y] in samples. */
function crossing(
  at: number,
  side: number,
  level: number,
  value: (row: number, column: number) => number,
): [number, number] {
  const down = at % 2;
  const first = (at - down) / 2;
  const [row, column] = [Math.floor(first / side), first % side];
  const [a, b] = [value(row, column), value(row + down, column + 1 - down)];
  const way = (level - a) / (b - a);
  return [column + (1 - down) * way, row + down * way];
}
