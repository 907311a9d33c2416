import { contours as levelCurves } from 'd3-contour';

/** Samples of one cell along an axis: contours look smooth. */
const FINE = 6;

/** Cells of a map. */
export interface Cells {
  rows: number;
  columns: number;
}

/**
 * Closed curves around where a map (rows, columns) exceeds a share of its maximum, as polygons of [x, y]
 * in cells (the centre of the first cell at 0, 0). The map is interpolated with cubic B-splines, which
 * neither overshoot nor move a peak, and counts as 0 outside. No polygon for a map that is 0 everywhere.
 */
export function contours(
  map: Float32Array,
  { rows, columns }: Cells,
  share = 0.5,
): [number, number][][] {
  const [height, width] = [samples(rows), samples(columns)];
  const field = interpolate(map, { rows, columns });
  const most = field.reduce((a, b) => Math.max(a, b), 0);
  if (!(most > 0)) return [];
  const { coordinates } = levelCurves()
    .size([width, height])
    .contour(Array.from(field), share * most);
  // d3-contour puts the centre of the first sample at 0.5, 0.5, and ends a ring where it begins
  return coordinates
    .flat()
    .map((ring) =>
      ring
        .slice(0, -1)
        .map(([x = 0, y = 0]): [number, number] => [(x - 0.5) / FINE - 2, (y - 0.5) / FINE - 2]),
    );
}

/** Samples of an axis of n cells: from cell -2 to n + 1 in steps of 1 / FINE. */
const samples = (n: number): number => (n + 3) * FINE + 1;

/** Values at these samples: (height, width), 0 at the border. */
function interpolate(map: Float32Array, { rows, columns }: Cells): Float64Array {
  const [height, width] = [samples(rows), samples(columns)];
  const along = new Float64Array(rows * width);
  for (let row = 0; row < rows; row++) {
    for (let j = 0; j < width; j++) {
      const cell = (column: number): number => map[row * columns + column] ?? 0;
      along[row * width + j] = spline(j / FINE - 2, columns, cell);
    }
  }
  return Float64Array.from({ length: height * width }, (_, at) =>
    spline(
      Math.floor(at / width) / FINE - 2,
      rows,
      (row) => along[row * width + (at % width)] ?? 0,
    ),
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
