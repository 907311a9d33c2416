import { expected } from '../../errors.js';
import { sphericalKmeans } from '../../explainer/directions.js';
import { Random } from '../../random.js';
import type { MapSource } from '../map_source.js';

/** Directions of norm 1 as maps: what the performer's vector at each cell has along each, at least 0. */
export class DirectionMaps implements MapSource {
  readonly filters: number;

  /** Directions (D, C), rows. */
  constructor(
    readonly name: string,
    readonly directions: Float32Array,
    readonly size: { channels: number; height: number; width: number },
  ) {
    this.filters = directions.length / size.channels;
  }

  /** Throws `E_SHAPE`. */
  maps(features: Float32Array, count: number): Promise<Float32Array> {
    const { channels, height, width } = this.size;
    const cells = height * width;
    if (features.length !== count * channels * cells) {
      const what = `${String(count * channels * cells)} values`;
      throw expected(what, 'features', features, { code: 'E_SHAPE', op: this.name });
    }
    const maps = new Float32Array(count * this.filters * cells);
    for (let n = 0; n < count; n++) {
      for (let f = 0; f < this.filters; f++) {
        const map = maps.subarray(
          (n * this.filters + f) * cells,
          (n * this.filters + f + 1) * cells,
        );
        for (let c = 0; c < channels; c++) {
          const weight = this.directions[f * channels + c] ?? 0;
          const start = (n * channels + c) * cells;
          for (let i = 0; i < cells; i++) {
            map[i] = (map[i] ?? 0) + weight * (features[start + i] ?? 0);
          }
        }
        for (let i = 0; i < cells; i++) map[i] = Math.max(0, map[i] ?? 0);
      }
    }
    return Promise.resolve(maps);
  }
}

/**
 * Spherical k-means over vectors of the performer's maps (count, C, n, m), 16 random cells of each
 * photograph: `filters` centres, projections as maps.
 */
export function kmeansMaps(
  { features, count }: { features: Float32Array; count: number },
  size: { channels: number; height: number; width: number },
  { filters, seed }: { filters: number; seed: number },
): MapSource {
  const { channels: C, height, width } = size;
  const cells = height * width;
  const random = new Random(seed, 'kmeans');
  const vectors: number[] = [];
  for (let i = 0; i < 16 * count; i++) {
    const [n, cell] = [i % count, random.int(cells)];
    const vector = Array.from({ length: C }, (_, c) => features[(n * C + c) * cells + cell] ?? 0);
    const norm = Math.hypot(...vector);
    if (norm > 0) vectors.push(...vector.map((value) => value / norm));
  }
  if (vectors.length === 0) throw expected('a value above 0', 'features', 'none', { op: 'kmeans' });
  const centres = sphericalKmeans(Float32Array.from(vectors), { C, D: filters, random });
  return new DirectionMaps('kmeansDirections', centres, size);
}
