import type { FeatureStore } from '../data/feature_store.js';
import type { ImageFile } from '../data/images.js';
import type { Annotations } from '../data/landmarks.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { cellsOfLandmarks, cellsOfMasks, scoreClusters, type PartClusters } from './clusters.js';
import { scoreFollow } from './follow.js';
import type { MapSource } from './map_source.js';
import type { Follow } from './metrics/index.js';

/** Scores of sets of maps on a sample of the photographs, by the name of the set. */
export interface SetScores {
  /** How filters follow, controls and sources too, where `jitter` was asked for. */
  follow?: Record<string, Follow> | undefined;
  /** Filters as clusters of what shows parts, where there are masks or landmarks of two parts. */
  clusters?: PartClusters | undefined;
}

export interface SetScoreInput {
  /** Rows of the store that are scored. */
  rows: readonly number[];
  files: ReadonlyMap<string, ImageFile>;
  /** Rows with landmarks, and these. */
  scored: { rows: readonly number[]; annotations: Annotations } | undefined;
  /** More sets of maps. */
  sources?: readonly MapSource[];
  options: {
    jitter?: boolean | number | undefined;
    masks?: string | undefined;
    signal?: AbortSignal | undefined;
    onProgress?: ((done: number, total: number) => void) | undefined;
  };
}

/** Follow and part clustering of all sets. Throws what `scoreFollow`, `cellsOfMasks`, `scoreClusters` throw. */
export async function scoreSets(
  explainer: TrainedExplainer,
  store: FeatureStore,
  { rows, files, scored, sources = [], options }: SetScoreInput,
): Promise<SetScores> {
  const { jitter = false, masks, signal, onProgress } = options;
  const found: SetScores = {};
  const images = rows.map((row) => ({ row, path: store.rows[row]?.image ?? '' }));
  if (jitter !== false) {
    const placed = images.flatMap(({ path }) => files.get(path) ?? []);
    found.follow = await scoreFollow(explainer, placed, {
      ...(jitter === true ? {} : { photographs: jitter }),
      ...{ sources, signal, onProgress },
    });
  }
  const labelled =
    masks === undefined
      ? scored && cellsOfLandmarks(explainer, scored.rows, scored.annotations)
      : await cellsOfMasks(explainer, images, masks);
  if (labelled) {
    const clusters = await scoreClusters(explainer, store, labelled, {
      ...{ sources, signal, onProgress },
    });
    found.clusters = { from: masks === undefined ? 'landmarks' : 'masks', ...clusters };
  }
  return found;
}
