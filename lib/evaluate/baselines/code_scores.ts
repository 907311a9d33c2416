import type { TrainedExplainer } from '../../explainer/trained.js';
import type { Batch } from '../../explainer/trainer.js';
import type { CodeSource } from '../map_source.js';
import { HeadComparison, RelativeError, type HeadScores } from '../metrics/index.js';
import type { BaselineName } from './names.js';

/** What a code keeps of the performer; NaN without photographs. */
export interface CodeScores extends Pick<HeadScores, 'agreement' | 'kl' | 'mae' | 'halfL1'> {
  /** Relative error of the layer's maps. */
  error: number;
}

/** Takes of values of `images` images those that were kept. */
export function picker(
  kept: readonly number[],
  images: number,
): (data: Float32Array) => Float32Array {
  return (data) => {
    const size = data.length / images;
    const picked = new Float32Array(kept.length * size);
    kept.forEach((i, n) => picked.set(data.subarray(i * size, (i + 1) * size), n * size));
    return picked;
  };
}

/** Holds what codes rebuild against the performer's own maps, through its own later layers. */
export class CodeComparison {
  readonly #explainer: TrainedExplainer;
  readonly #codes: readonly { code: CodeSource; error: RelativeError; head: HeadComparison }[];

  constructor(explainer: TrainedExplainer, codes: readonly CodeSource[]) {
    const { size: classes, softmax } = explainer.performer.output;
    const kind = softmax ? 'probabilities' : 'logits';
    this.#explainer = explainer;
    this.#codes = codes.map((code) => {
      return { code, error: new RelativeError(), head: new HeadComparison({ classes, kind }) };
    });
  }

  /** Adds the images of a batch that were kept out. */
  async add(
    batch: Batch,
    { kept, images }: { kept: readonly number[]; images: number },
  ): Promise<void> {
    const count = kept.length;
    if (count === 0 || this.#codes.length === 0) return;
    const { performer } = this.#explainer;
    const pick = picker(kept, images);
    const features = pick(batch.features);
    const bypass = batch.bypass.map(pick);
    const wanted = pick(batch.output ?? new Float32Array(0));
    for (const { code, error, head } of this.#codes) {
      const rebuilt = await code.rebuild(features, count);
      error.add(rebuilt, features);
      const site = await performer.siteMaps(rebuilt, count);
      head.add(wanted, (await performer.tail(site, bypass, count)).output);
    }
  }

  scores(): Partial<Record<BaselineName, CodeScores>> {
    const scores = this.#codes.map(({ code, error, head }) => {
      const { agreement, kl, mae, halfL1 } = head.scores();
      return [code.name, { agreement, kl, mae, halfL1, error: error.value }] as const;
    });
    return Object.fromEntries(scores);
  }
}
