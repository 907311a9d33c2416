import { expected } from '../../errors.js';
import type { MapSource } from '../map_source.js';

/** Cells on each side of the middle of a 5x5 window. */
const REACH = 2;
const WINDOW = (2 * REACH + 1) ** 2;

/**
 * Smoothed energy: one map, the Euclidean norm of the performer's vector at each cell, averaged over 5x5
 * cells. Where something is, not which part of it. Cells outside of the map count as 0: where windows at
 * a border are averaged over fewer cells, borders win too often, and the control is weaker.
 */
export class SmoothedEnergy implements MapSource {
  readonly name = 'energy';
  readonly filters = 1;
  readonly #size: { channels: number; height: number; width: number };

  /** Sizes of the performer's maps (C, n, m). */
  constructor(size: { channels: number; height: number; width: number }) {
    this.#size = size;
  }

  /** Throws `E_SHAPE`. */
  maps(features: Float32Array, count: number): Promise<Float32Array> {
    const { channels, height, width } = this.#size;
    const cells = height * width;
    if (features.length !== count * channels * cells) {
      const what = `${String(count * channels * cells)} values`;
      throw expected(what, 'features', features, { code: 'E_SHAPE', op: this.name });
    }
    const maps = new Float32Array(count * cells);
    const energy = new Float64Array(cells);
    for (let n = 0; n < count; n++) {
      energy.fill(0);
      for (let c = 0; c < channels; c++) {
        const start = (n * channels + c) * cells;
        for (let i = 0; i < cells; i++) {
          energy[i] = (energy[i] ?? 0) + (features[start + i] ?? 0) ** 2;
        }
      }
      for (let i = 0; i < cells; i++) energy[i] = Math.sqrt(energy[i] ?? 0);
      smooth(energy, maps.subarray(n * cells, (n + 1) * cells), [height, width]);
    }
    return Promise.resolve(maps);
  }
}

/** Mean over 5x5 cells of a map (n, m); outside of it is 0. */
function smooth(
  map: Float64Array,
  into: Float32Array,
  [height, width]: readonly [number, number],
): void {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let i = Math.max(0, y - REACH); i <= Math.min(height - 1, y + REACH); i++) {
        for (let j = Math.max(0, x - REACH); j <= Math.min(width - 1, x + REACH); j++) {
          sum += map[i * width + j] ?? 0;
        }
      }
      into[y * width + x] = sum / WINDOW;
    }
  }
}
