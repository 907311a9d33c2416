import type { FeatureRow } from '../data/feature_store.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import type { Batch } from '../explainer/trainer.js';
import { picker } from './baselines/code_scores.js';
import type { HeadComparison, RelativeError } from './metrics/index.js';

export interface Comparison {
  images: readonly FeatureRow[];
  /** Images of the batch that were kept out of training. */
  kept: readonly number[];
  rebuilt: readonly Float32Array[];
  errors: readonly RelativeError[];
  head: HeadComparison;
}

/** Errors of what is rebuilt, and the performer's answer to it, over the images that are kept out. */
export async function compareHeads(
  explainer: TrainedExplainer,
  batch: Batch,
  { images, kept, rebuilt, errors, head }: Comparison,
): Promise<void> {
  if (kept.length === 0) return;
  const { performer, config } = explainer;
  const pick = picker(kept, images.length);
  const decoded = rebuilt.map(pick);
  const answer = await explainer.answer(decoded, batch.bypass.map(pick), kept.length);
  const wanted = batch.targets.map(pick);
  if (config.network.site) {
    wanted.unshift(await performer.siteMaps(pick(batch.features), kept.length));
  }
  const found = config.network.site ? [...decoded, ...answer.targets] : decoded;
  errors.forEach((error, l) => {
    error.add(found[l] ?? new Float32Array(0), wanted[l] ?? new Float32Array(0));
  });
  const labels = kept.map((i) => performer.classes?.indexOf(images[i]?.className ?? '') ?? -1);
  head.add(pick(batch.output ?? new Float32Array(0)), answer.output, labels);
}
