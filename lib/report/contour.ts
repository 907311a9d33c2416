import { contours } from 'd3-contour';
import { sidesOf, type ImageSize } from '../data/image_size.js';
import type { Grid } from '../evaluate/metrics/index.js';

/**
 * SVG path of the line along which a map, interpolated between its cells, has the value `level`. `map`
 * has the cells of the grid, row-major; `size` is that of the network's input, pixels. The path is in
 * thousandths of the input's sides, as moves by whole numbers; beyond the outer cells the map counts as
 * 0, so every line is closed. Empty when no cell reaches the level.
 */
export function contourPath(
  map: ArrayLike<number>,
  { grid, size, level }: { grid: Grid; size: ImageSize; level: number },
): string {
  const { rows, columns } = grid;
  const [inputHeight, inputWidth] = sidesOf(size);
  const width = columns + 2;
  const padded = new Array<number>(width * (rows + 2)).fill(0);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      padded[(i + 1) * width + j + 1] = map[i * columns + j] ?? 0;
    }
  }
  const { coordinates } = contours()
    .size([width, rows + 2])
    .contour(padded, level);
  // d3-contour: the centre of cell (i, j) is at (j + 0.5, i + 0.5); here cells are padded by one.
  const place = ([x = 0, y = 0]: readonly number[]): [number, number] => [
    thousandths(grid.first[1] + grid.stride[1] * (x - 1.5), inputWidth),
    thousandths(grid.first[0] + grid.stride[0] * (y - 1.5), inputHeight),
  ];
  return coordinates
    .flat()
    .map((ring) => ringPath(ring.map(place)))
    .join('');
}

/** A position in pixels, counted from the centre of the first one, in thousandths of the side. */
export function thousandths(pixel: number, side: number): number {
  return Math.round((1000 * (pixel + 0.5)) / side);
}

/** `M12 30l4-5 6 0z`: the first point, then the moves from each to the next. */
function ringPath(points: readonly (readonly [number, number])[]): string {
  const [first, ...rest] = points.slice(0, -1);
  if (!first) return '';
  let [x, y] = first;
  const moves: string[] = [];
  for (const [nextX, nextY] of rest) {
    if (nextX === x && nextY === y) continue;
    moves.push(`${String(nextX - x)} ${String(nextY - y)}`);
    [x, y] = [nextX, nextY];
  }
  return moves.length < 2 ? '' : `M${String(first[0])} ${String(first[1])}l${moves.join(' ')}z`;
}
