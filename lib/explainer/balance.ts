import type { FeatureStore } from '../data/feature_store.js';
import { sizeOf } from '../engine/tensor.js';
import { firstClass, type Performer } from '../performer/index.js';
import { OUTPUT } from './features.js';
import type { NetworkSpec } from './network_spec.js';
import { hasFilterLoss, type TrainOptions } from './options.js';

/** Classes that the performer sees in fewer photographs, as a share of all, get no filters of their own. */
const LEAST_SHARE = 0.02;
const ROWS = 64;

/**
 * The classes that filters belong to: those that the performer itself predicts for at least 2 % of the
 * photographs, most frequent first, at most one for each filter; nothing without a classifier, without
 * balance or filter loss, or where there is but one. Reads no label.
 */
export async function balancedClasses(
  { output: { classifier, size } }: Performer,
  options: TrainOptions,
  store: FeatureStore,
  rows: readonly number[],
): Promise<{ classes?: number[] }> {
  const { balance = 0, filters } = options;
  if (balance === 0 || !classifier || !hasFilterLoss(options)) return {};
  const counts = new Float64Array(size);
  const length = sizeOf(store.tensors[OUTPUT] ?? []);
  for (let start = 0; start < rows.length; start += ROWS) {
    const part = rows.slice(start, start + ROWS);
    const outputs = new Float32Array(part.length * length);
    await store.read(OUTPUT, part, outputs);
    part.forEach((_, i) => {
      const first = firstClass(outputs.subarray(i * length, (i + 1) * length));
      counts[first] = (counts[first] ?? 0) + 1;
    });
  }
  const seen = Array.from(counts.keys())
    .filter((k) => (counts[k] ?? 0) >= LEAST_SHARE * rows.length)
    .sort((a, b) => (counts[b] ?? 0) - (counts[a] ?? 0) || a - b)
    .slice(0, filters || undefined);
  return seen.length > 1 ? { classes: seen } : {};
}

/**
 * (B, D): 1 where the performer puts an image of a batch into another class than the filter belongs to, else
 * 0. outputs (B, classes).
 */
export function foreignImages(
  outputs: Float32Array,
  { classes = [], filters }: Pick<NetworkSpec, 'classes' | 'filters'>,
  images: number,
): Float32Array {
  const size = outputs.length / images;
  const foreign = new Float32Array(images * filters);
  for (let n = 0; n < images; n++) {
    const first = firstClass(outputs.subarray(n * size, (n + 1) * size));
    for (let d = 0; d < filters; d++) {
      foreign[n * filters + d] = Number(classes[d % classes.length] !== first);
    }
  }
  return foreign;
}
