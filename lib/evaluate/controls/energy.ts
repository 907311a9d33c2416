import { expected } from '../../errors.js';
import type { MapSource } from '../map_source.js';
import { smoothedEnergy } from '../metrics/index.js';

/** Smoothed energy as one map: where something is, not which part of it. */
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
    const { channels, height: rows, width: columns } = this.#size;
    const cells = rows * columns;
    const size = channels * cells;
    if (features.length !== count * size) {
      const what = `${String(count * size)} values`;
      throw expected(what, 'features', features, { code: 'E_SHAPE', op: this.name });
    }
    const maps = new Float32Array(count * cells);
    for (let n = 0; n < count; n++) {
      const image = features.subarray(n * size, (n + 1) * size);
      maps.set(smoothedEnergy(image, { rows, columns }), n * cells);
    }
    return Promise.resolve(maps);
  }
}
