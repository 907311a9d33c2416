import type { FeatureStore } from '../data/feature_store.js';
import type { ImageFile } from '../data/images.js';
import {
  annotatedImages,
  readLandmarks,
  selectImages,
  type Annotations,
} from '../data/landmarks.js';
import { PartlensError } from '../errors.js';
import type { TrainedExplainer } from '../explainer/trained.js';

/** Photographs of a run that have landmarks. */
export interface Scored {
  /** Rows of the store with at least one landmark, and their landmarks. */
  rows: number[];
  files: ImageFile[];
  annotations: Annotations;
}

/** Landmarks of the run's photographs, those of some rows taken. */
export async function annotate(
  store: FeatureStore,
  all: readonly number[],
  given: {
    files: ReadonlyMap<string, ImageFile>;
    landmarks: string;
    /** Rows that are scored. */
    rows: readonly number[];
    explainer: TrainedExplainer;
    onWarning: ((text: string) => void) | undefined;
  },
): Promise<Scored> {
  const { files, landmarks, rows, explainer, onWarning } = given;
  const images = all.map((row) => {
    const { image, className, width, height } = store.rows[row] ?? missingRow(row);
    return { file: files.get(image)?.file ?? '', className, width, height };
  });
  const { annotations } = await readLandmarks(landmarks, images, {
    size: [explainer.performer.input.height, explainer.performer.input.width],
    ...(onWarning ? { onWarning } : {}),
  });
  const wanted = new Set(rows);
  const chosen = annotatedImages(annotations).filter((n) => wanted.has(all[n] ?? -1));
  const kept = Array.from(chosen, (n) => all[n] ?? 0);
  return {
    rows: kept,
    files: kept.flatMap((row) => files.get(store.rows[row]?.image ?? '') ?? []),
    annotations: selectImages(annotations, chosen),
  };
}

/** A row that must be there. */
export function missingRow(row: number): never {
  throw new PartlensError('E_INTERNAL', `no row ${String(row)} in the feature store`);
}
