/** Cells on each side of the middle of a 5x5 window. */
const REACH = 2;
const WINDOW = (2 * REACH + 1) ** 2;

/** Rows and columns of maps. */
interface Sides {
  rows: number;
  columns: number;
}

/**
 * Smoothed energy of one image's maps (C, rows, columns), (rows, columns): the Euclidean norm of the feature
 * vector at each cell, averaged over 5x5 cells. Cells outside of the map count as 0: where windows at a border
 * are averaged over fewer cells, borders win too often.
 */
export function smoothedEnergy(maps: Float32Array, { rows, columns }: Sides): Float32Array {
  const cells = rows * columns;
  const energy = new Float64Array(cells);
  for (let start = 0; start < maps.length; start += cells) {
    for (let i = 0; i < cells; i++) energy[i] = (energy[i] ?? 0) + (maps[start + i] ?? 0) ** 2;
  }
  for (let i = 0; i < cells; i++) energy[i] = Math.sqrt(energy[i] ?? 0);
  return Float32Array.from({ length: cells }, (_, cell) => {
    const [y, x] = [Math.floor(cell / columns), cell % columns];
    let sum = 0;
    for (let i = Math.max(0, y - REACH); i <= Math.min(rows - 1, y + REACH); i++) {
      for (let j = Math.max(0, x - REACH); j <= Math.min(columns - 1, x + REACH); j++) {
        sum += energy[i * columns + j] ?? 0;
      }
    }
    return sum / WINDOW;
  });
}

/** The cell of the largest smoothed energy, of equals the first: where the object is, whatever its parts. */
export function energyPeak(maps: Float32Array, sides: Sides): number {
  const energy = smoothedEnergy(maps, sides);
  return energy.indexOf(Math.max(...energy));
}
