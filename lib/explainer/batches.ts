import type { FeatureStore } from '../data/feature_store.js';
import { Random } from '../random.js';
import { sizeOf } from '../engine/tensor.js';
import { bypassName, LAYER, OUTPUT, targetName } from './features.js';
import type { Batch } from './trainer.js';

export interface BatchOptions {
  store: FeatureStore;
  /** Rows of the store to train on. */
  rows: readonly number[];
  batch: number;
  wanted: BatchParts;
  seed: number;
}

/** What of the store a batch holds beside the layer's maps. */
export interface BatchParts {
  /** Numbers of targets and of values that bypass the layer. */
  targets: number;
  bypass: number;
  output: boolean;
}

/** Row numbers of the batch of one step: every epoch is a permutation of its own, from the seed. */
export function batchRows({ rows, batch, seed }: BatchOptions, step: number): number[] {
  const perEpoch = Math.max(1, Math.floor(rows.length / batch));
  const order = Array.from(rows);
  new Random(seed, `epoch/${String(Math.floor(step / perEpoch))}`).shuffle(order);
  const start = (step % perEpoch) * batch;
  return order.slice(start, start + batch);
}

/** Reads rows of a store as a batch. */
export async function readBatch(
  store: FeatureStore,
  rows: readonly number[],
  { targets, bypass, output }: BatchParts,
): Promise<Batch> {
  const read = async (name: string): Promise<Float32Array> => {
    const data = new Float32Array(rows.length * sizeOf(store.tensors[name] ?? []));
    await store.read(name, rows, data);
    return data;
  };
  const all = (count: number, name: (i: number) => string): Promise<Float32Array[]> =>
    Promise.all(Array.from({ length: count }, (_, i) => read(name(i))));
  const [features, ofTargets, ofBypass, ofOutput] = await Promise.all([
    read(LAYER),
    all(targets, targetName),
    all(bypass, bypassName),
    output ? read(OUTPUT) : undefined,
  ]);
  return { features, targets: ofTargets, bypass: ofBypass, output: ofOutput };
}

/** Batches of consecutive steps; the next one is read while the caller works on the last. */
export async function* batches(
  options: BatchOptions,
  from: number,
  to: number,
): AsyncGenerator<Batch, void, void> {
  const { store, wanted } = options;
  const start = (step: number): Promise<Batch> => {
    const next = readBatch(store, batchRows(options, step), wanted);
    next.catch(() => undefined); // seen when it is awaited
    return next;
  };
  let next = start(from);
  for (let step = from; step < to; step++) {
    const batch = await next;
    if (step + 1 < to) next = start(step + 1);
    yield batch;
  }
}
