import type { FeatureStore } from '../data/feature_store.js';
import { sizeOf } from '../engine/tensor.js';
import type { Performer } from '../performer/index.js';
import { LAYER } from './features.js';

/** Rows that the power of pooled maps is measured on. */
const POWER_ROWS = 512;

/** mean(x^2) of the maps that the decoder `own` rebuilds; of pooled ones over evenly chosen rows. */
export async function sitePower(
  performer: Performer,
  store: FeatureStore,
  rows: readonly number[],
): Promise<number> {
  if (!performer.site.pool) return store.meanSquare(LAYER, rows);
  const every = Math.max(1, Math.floor(rows.length / POWER_ROWS));
  const chosen = rows.filter((_, i) => i % every === 0);
  const size = sizeOf(store.tensors[LAYER] ?? []);
  let [sum, count] = [0, 0];
  for (let start = 0; start < chosen.length; start += performer.batch) {
    const part = chosen.slice(start, start + performer.batch);
    const maps = new Float32Array(part.length * size);
    await store.read(LAYER, part, maps);
    const pooled = await performer.siteMaps(maps, part.length);
    for (const value of pooled) sum += value * value;
    count += pooled.length;
  }
  return sum / count;
}
