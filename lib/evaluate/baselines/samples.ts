import type { FeatureStore } from '../../data/feature_store.js';
import { sizeOf } from '../../engine/tensor.js';
import { LAYER } from '../../explainer/features.js';
import { Random } from '../../random.js';
import { pacer } from './pace.js';

/** Vectors in all, at most, and photographs that they are drawn from. */
export const MOST_VECTORS = 12_000;
const MOST_IMAGES = 2_000;

/**
 * Feature vectors at cells of rows of the store, rows of C numbers: at most 12,000, as many from each of at
 * most 2,000 photographs, drawn from the seed; all cells where there are no more.
 */
export async function sampleVectors(
  store: FeatureStore,
  rows: readonly number[],
  { seed, signal }: { seed: number; signal?: AbortSignal | undefined },
): Promise<Float32Array> {
  const shape = store.tensors[LAYER] ?? [];
  const C = shape[0] ?? 1;
  const cells = sizeOf(shape) / C;
  const random = new Random(seed, 'baselines/samples');
  const chosen = random.shuffle([...rows]).slice(0, MOST_IMAGES);
  const each = Math.min(cells, Math.ceil(MOST_VECTORS / Math.max(1, chosen.length)));
  const vectors = new Float32Array(Math.min(MOST_VECTORS, each * chosen.length) * C);
  const maps = new Float32Array(C * cells);
  const rest = pacer(signal);
  let at = 0;
  for (const row of chosen) {
    await store.read(LAYER, [row], maps);
    for (const cell of random.permutation(cells).subarray(0, each)) {
      if (at === vectors.length) break;
      for (let c = 0; c < C; c++) vectors[at++] = maps[c * cells + cell] ?? 0;
    }
    await rest();
  }
  return vectors;
}
