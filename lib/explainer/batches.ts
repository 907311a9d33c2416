import type { FeatureStore } from '../data/feature_store.js';
import { Random } from '../random.js';
import { sizeOf } from '../engine/tensor.js';
import { LAYER, targetName } from './features.js';
import type { Batch } from './trainer.js';

export interface BatchOptions {
  store: FeatureStore;
  /** Rows of the store to train on. */
  rows: readonly number[];
  batch: number;
  targets: number;
  seed: number;
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
  targets: number,
): Promise<Batch> {
  const read = async (name: string): Promise<Float32Array> => {
    const data = new Float32Array(rows.length * sizeOf(store.tensors[name] ?? []));
    await store.read(name, rows, data);
    return data;
  };
  const names = Array.from({ length: targets }, (_, l) => targetName(l));
  const [features, ...rest] = await Promise.all([LAYER, ...names].map(read));
  return { features: features ?? new Float32Array(0), targets: rest };
}

/** Batches of consecutive steps; the next one is read while the caller works on the last. */
export async function* batches(
  options: BatchOptions,
  from: number,
  to: number,
): AsyncGenerator<Batch, void, void> {
  const { store, targets } = options;
  const start = (step: number): Promise<Batch> => {
    const next = readBatch(store, batchRows(options, step), targets);
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
