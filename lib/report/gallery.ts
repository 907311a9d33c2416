import { emptyPeaks, peaksOf, type Peaks } from '../evaluate/metrics/index.js';

/** Photographs that are shown of each filter. */
export const SHOWN = 8;

/** A photograph in which a filter is strong, with its map. */
export interface Strong {
  /** Index of the photograph. */
  image: number;
  activation: number;
  /** Row-major. */
  map: Float32Array;
}

/**
 * Collects, batch by batch, the peaks of a set of maps and for each filter its strongest photographs
 * with their maps: of equal activations the first ones; none in which it is silent.
 */
export class Gallery {
  readonly peaks: Peaks;
  readonly strongest: Strong[][];
  readonly #cells: number;

  constructor(images: number, { filters, cells }: { filters: number; cells: number }) {
    this.peaks = emptyPeaks(images, filters);
    this.strongest = Array.from({ length: filters }, () => []);
    this.#cells = cells;
  }

  /** Maps (images, filters, cells), row-major, of the photographs from `first` on. */
  add(maps: Float32Array, first: number, images: number): void {
    const { filters, value } = this.peaks;
    const cells = this.#cells;
    peaksOf(maps, { images, filters, cells }, { into: this.peaks, first });
    for (let n = 0; n < images; n++) {
      for (let f = 0; f < filters; f++) {
        const activation = value[(first + n) * filters + f] ?? 0;
        const list = this.strongest[f] ?? [];
        const least = list.length < SHOWN ? 0 : (list.at(-1)?.activation ?? 0);
        if (!(activation > least)) continue;
        const start = (n * filters + f) * cells;
        const place = list.findIndex((other) => other.activation < activation);
        const map = maps.slice(start, start + cells);
        list.splice(place < 0 ? list.length : place, 0, { image: first + n, activation, map });
        list.length = Math.min(list.length, SHOWN);
      }
    }
  }
}
