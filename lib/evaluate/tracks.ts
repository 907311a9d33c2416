import type { FeatureStore } from '../data/feature_store.js';
import { readBatch } from '../explainer/batches.js';
import {
  answerWithout,
  hasParts,
  NOTHING,
  withPartsOf,
  type Tracks,
} from '../explainer/interventions.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { Random } from '../random.js';
import { TrackComparison, type TrackScores } from './metrics/index.js';

const BATCH = 32;

/**
 * What the parts and what the ordinary track carry, on rows of the store: the performer answers to features
 * rebuilt of both, of each alone and of neither, and to the parts of the next photograph with the ordinary
 * track of this one. Without parts (`tracks: 'ordinary'`) their share is 0. The order, and with it the pairs, is
 * drawn from the run's seed. Throws the signal's reason when it aborts.
 */
export async function scoreTracks(
  explainer: TrainedExplainer,
  store: FeatureStore,
  { rows, signal }: { rows: readonly number[]; signal?: AbortSignal | undefined },
): Promise<TrackScores> {
  const { performer, config } = explainer;
  const { size, softmax } = performer.output;
  const kind = softmax ? 'probabilities' : 'logits';
  const comparison = new TrackComparison({ classes: size, kind });
  const order = new Random(config.options.seed, 'evaluate/swap').shuffle([...rows]);
  for (let start = 0; start < order.length; start += BATCH) {
    signal?.throwIfAborted();
    const count = Math.min(BATCH, order.length - start);
    // One more than is scored: it lends its parts to the last.
    const part = Array.from(
      { length: count + 1 },
      (_, i) => order[(start + i) % order.length] ?? 0,
    );
    const { features, bypass, output } = await readBatch(store, part, {
      ...{ targets: 0, bypass: performer.bypass.length, output: true },
    });
    const own = await explainer.maps(features, part.length);
    const ask = async (
      tracks: Tracks,
      off: Parameters<typeof answerWithout>[3],
    ): Promise<Float32Array> => (await answerWithout(explainer, tracks, bypass, off)).output;
    const all = await ask(own, { count: count + 1 });
    const next = Array.from({ length: count + 1 }, (_, n) => Math.min(n + 1, count));
    const mixed = await ask(withPartsOf(own, next), { count: count + 1 });
    const parts = await ask(own, { count: count + 1, ordinaryOff: true });
    const ordinary = await ask(own, { count: count + 1, partsOff: true });
    const none = await ask(own, { count: count + 1, ...NOTHING });
    const first = (data: Float32Array): Float32Array => data.subarray(0, count * size);
    comparison.add({
      ...{ performer: first(output ?? new Float32Array(0)), full: first(all) },
      ...{ parts: first(parts), ordinary: first(ordinary), none: first(none) },
    });
    comparison.addSwapped({ own: first(all), other: all.subarray(size), mixed: first(mixed) });
  }
  const scores = comparison.scores();
  return hasParts(explainer) ? scores : { ...scores, share: 0 };
}
