import type { FeatureStore } from '../data/feature_store.js';
import { firstClass, type Performer } from '../performer/index.js';
import { OUTPUT } from './features.js';

/** How often the performer names the class of the folder that a photograph lies in. */
export interface OwnAccuracy {
  /** Photographs in folders that have the name of a class; at most `MOST`, spread over all. */
  photographs: number;
  /** Fraction of these whose largest output is that class, 0..1. */
  accuracy: number;
}

/** Below this share the photographs are probably not what the CNN was trained on, or not prepared as then. */
export const LOW_ACCURACY = 0.7;
const MOST = 1000;
const ROWS = 64;

/** The performer's accuracy from a feature store; undefined where no folder has the name of a class. */
export async function ownAccuracy(
  { classes, output }: { classes: Performer['classes']; output: { size: number } },
  store: FeatureStore,
): Promise<OwnAccuracy | undefined> {
  if (classes?.length !== output.size) return undefined;
  const numbers = new Map(classes.map((name, k) => [name, k]));
  const named = store.rows.flatMap(({ mirrored, className }, row) =>
    !mirrored && numbers.has(className) ? [row] : [],
  );
  if (named.length === 0) return undefined;
  const step = Math.max(1, named.length / MOST);
  const rows = Array.from(
    { length: Math.min(MOST, named.length) },
    (_, i) => named[Math.floor(i * step)] ?? 0,
  );
  let right = 0;
  for (let from = 0; from < rows.length; from += ROWS) {
    const some = rows.slice(from, from + ROWS);
    const scores = new Float32Array(some.length * output.size);
    await store.read(OUTPUT, some, scores);
    some.forEach((row, i) => {
      const own = scores.subarray(i * output.size, (i + 1) * output.size);
      const wanted = numbers.get(store.rows[row]?.className ?? '') ?? -1;
      if (firstClass(own) === wanted) right++;
    });
  }
  return { photographs: rows.length, accuracy: right / rows.length };
}

/** `The CNN names the class of its folder for 93.2 % of 1000 photographs.` */
export function accuracySentence({ photographs, accuracy }: OwnAccuracy): string {
  const share = (100 * accuracy).toFixed(1);
  return `The CNN names the class of its folder for ${share} % of ${String(photographs)} photographs.`;
}

/** What to look at where the accuracy is low, else undefined. */
export function accuracyWarning(own: OwnAccuracy): string | undefined {
  if (own.accuracy >= LOW_ACCURACY) return undefined;
  return (
    `${accuracySentence(own)} That is low: check channels (RGB or BGR), scale, mean and std ` +
    'of its preprocessing (inspect --images shows its answers), and the order of its classes.'
  );
}

export interface AccuracyListener {
  /** Called before the first step where folders have names of classes: how good the CNN itself is on them. */
  onAccuracy?: (own: OwnAccuracy) => void;
  onWarning?: (text: string) => void;
}

/** Tells the performer's accuracy, and warns where it is low. */
export async function tellAccuracy(
  performer: Performer,
  store: FeatureStore,
  { onAccuracy, onWarning }: AccuracyListener,
): Promise<void> {
  const own = await ownAccuracy(performer, store);
  if (!own) return;
  onAccuracy?.(own);
  const warning = accuracyWarning(own);
  if (warning !== undefined) onWarning?.(warning);
}
