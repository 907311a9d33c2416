import { join, resolve } from 'node:path';
import type { FeatureRow, FeatureStore } from '../data/feature_store.js';
import { listImages } from '../data/images.js';
import { expected, PartlensError } from '../errors.js';
import { readBatch } from '../explainer/batches.js';
import { chooseImages, extractFeatures, rowsOf } from '../explainer/features.js';
import { rebuiltNames } from '../explainer/network.js';
import { stoppable } from '../explainer/stop.js';
import type { TrainedExplainer, ExplainerMaps } from '../explainer/trained.js';
import { annotate, missingRow, type Scored } from './annotate.js';
import { compareHeads } from './compare_heads.js';
import { CodeComparison, type CodeScores } from './baselines/code_scores.js';
import { openBaselines, type FitBaselines } from './baselines/index.js';
import { BASELINES, FITS, type BaselineName, type FitName } from './baselines/names.js';
import { openControls } from './controls/index.js';
import { CONTROLS, scoreFilters, type ScoredSets } from './filter_scores.js';
import type { CodeSource, MapSource } from './map_source.js';
import {
  HeadComparison,
  RelativeError,
  type HeadScores,
  type Peaks,
  type TrackScores,
} from './metrics/index.js';
import { occlusionCheck, occlusionSample, type OcclusionCheck } from './occlusion.js';
import { namesOf, writePartNames } from './part_names.js';
import { emptySets, mapsOfSets, OWN_SETS, peaksWithNoise, takePeaks } from './peak_sets.js';
import { scoreSets, type SetScores } from './score_sets.js';
import { passes } from './progress.js';
import { scoreTracks } from './tracks.js';

export const SPLITS = ['all', 'train', 'validation'] as const;
export type SplitName = (typeof SPLITS)[number];

export interface EvaluateOptions {
  /** CSV of landmarks; without it no location instability. */
  landmarks?: string | undefined;
  /** Photographs whose landmarks are scored, default `all`. */
  split?: SplitName | undefined;
  /**
   * Also score the stability of parts under noise of this standard deviation, in the values that the
   * network sees; the photographs with landmarks are read again. Default none; [Huang 2023] takes 0.2.
   */
  noise?: number | undefined;
  /**
   * Also score whether filters follow photographs that are placed elsewhere: true, or how many of the
   * photographs at most (400). They are read again; no landmarks needed. Default none.
   */
  jitter?: boolean | number | undefined;
  /**
   * Folder of part masks, PNG files of the paths of the photographs: one grey channel, a label for each pixel,
   * 0 for none. Filters are scored as clusters of cells; without masks of landmarks, where there are two parts.
   */
  masks?: string | undefined;
  /**
   * More sets of maps, to be scored as the performer's and the explainer's are: `instability.sources`,
   * `follow` and `clusters.sets` by their names.
   */
  sources?: readonly MapSource[] | undefined;
  /**
   * Also score k-means, PCA, NMF and a sparse autoencoder, fitted on the features of the training photographs:
   * their maps as `instability.baselines`, their codes as `codes`: true for all, or which. Default none.
   */
  baselines?: boolean | readonly FitName[] | undefined;
  /**
   * Photographs kept out on which contributions are held against the performer itself (`occlusionCheck`);
   * they are read again. Default 75, fewer for large networks; 0: none.
   */
  occlusion?: number | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  onWarning?: ((text: string) => void) | undefined;
  /** Told while baselines are fitted, before photographs are scored. */
  onFit?: ((baseline: string) => void) | undefined;
  /** Sees the maps of every photograph of the run, also of those that are not scored. */
  onMaps?: ((batch: EvaluatedBatch) => void) | undefined;
}

/** Maps of some photographs on their way through `evaluate`. */
export interface EvaluatedBatch {
  images: readonly FeatureRow[];
  /** The performer's maps, (images, C, n, m). */
  features: Float32Array;
  /** What bypasses them, (images, ...) each. */
  bypass: readonly Float32Array[];
  maps: ExplainerMaps;
}

/** What an explainer is worth: DESIGN 1.3. Fractions of the image diagonal, shares 0..1, nats. */
export interface Evaluation extends SetScores {
  /** The performer's own filters and both interpretable layers against landmarks, if there are any. */
  instability: ScoredSets | undefined;
  /** The parts' share of the rebuilt features: the weight of their track. What parts carry of a score is `tracks.share`. */
  p: number;
  /** What goes through each track, on the validation photographs. */
  tracks: TrackScores;
  /** Undefined without parts, validation photographs, or where it was not asked for. */
  occlusion: OcclusionCheck | undefined;
  /** Filters of conv_interp_2 that never fire, on the scored photographs or else on all. */
  deadFilters: number;
  /** Relative error of the rebuilt maps, if any, and of each target, on the validation photographs; NaN without any. */
  reconstruction: Record<string, number>;
  /** What the performer makes of rebuilt features, on the validation photographs. */
  head: HeadScores;
  /** What each baseline keeps of the performer, on the validation photographs; empty where not asked for. */
  codes: Partial<Record<BaselineName, CodeScores>>;
}

const BATCH = 32;

/**
 * Evaluates an explainer: see `Explainer.evaluate`. With landmarks it writes `parts.json`. Throws
 * `E_ARGUMENT` for wrong options, `E_FILE` when photographs are gone, `E_STATE` when they changed since the
 * run or when the signal stops it.
 */
export async function evaluateExplainer(
  explainer: TrainedExplainer,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { noise, landmarks, jitter, baselines, split = 'all', sources = [] } = options;
  if (!SPLITS.includes(split)) {
    throw expected(`one of ${SPLITS.join(', ')}`, 'split', split, { op: 'evaluate' });
  }
  if (noise !== undefined) {
    if (!(noise > 0 && noise < Infinity)) {
      throw expected('a number > 0', 'noise', noise, { op: 'evaluate' });
    }
    if (landmarks === undefined) throw expected('landmarks', 'noise', 'none', { op: 'evaluate' });
  }
  if (typeof jitter === 'number' && !(Number.isInteger(jitter) && jitter >= 1)) {
    throw expected('an integer >= 1', 'jitter', jitter, { op: 'evaluate' });
  }
  if (Array.isArray(baselines)) {
    const known: readonly unknown[] = FITS;
    const wrong: unknown = baselines.find((name) => !known.includes(name));
    if (wrong !== undefined) {
      throw expected(`some of ${FITS.join(', ')}`, 'baselines', wrong, { op: 'evaluate' });
    }
  }
  const taken: string[] = [...OWN_SETS, ...CONTROLS, ...BASELINES];
  for (const { name } of sources) {
    if (taken.includes(name)) throw expected('other names', 'sources', name, { op: 'evaluate' });
    taken.push(name);
  }
  const stop = { op: 'evaluate', message: 'The evaluation was stopped.' };
  return stoppable(options.signal, stop, () => evaluateRun(explainer, options));
}

async function evaluateRun(
  explainer: TrainedExplainer,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { config, performer, run } = explainer;
  const { onWarning, signal } = options;
  const list = await listImages(config.images.folder);
  const images = chooseImages(list, config.images.classes);
  const { store } = await extractFeatures({
    performer,
    images,
    folder: join(run, 'features'),
    mirror: config.options.mirror,
    dtype: config.options.features,
    signal,
    onWarning,
    onOtherStore: () => {
      throw new PartlensError(
        'E_STATE',
        `The photographs in ${list.root}, or the performer, are not those of ${run} any more.\n` +
          `Bring them back, or remove ${join(run, 'features')} to score what is there now.`,
        { op: 'evaluate' },
      );
    },
  });
  try {
    const files = new Map(images.map((image) => [image.path, image]));
    const rowsIn = (split: SplitName): number[] =>
      rowsOf(store, photographs(explainer, split), false);
    const rows = rowsIn(options.split ?? 'all');
    const { landmarks } = options;
    const scored = landmarks
      ? await annotate(store, rowsIn('all'), { files, landmarks, rows, explainer, onWarning })
      : undefined;
    const kept = rowsIn('validation');
    const sample = occlusionSample(explainer, kept, options.occlusion).map(
      (row) => files.get(store.rows[row]?.image ?? '')?.file ?? '',
    );
    const { jitter = false, masks } = options;
    const pass = passes(options.onProgress, rows.length + kept.length);
    const onSquares = sample.length > 0 ? 0.15 : 0;
    const onRows = pass(jitter === false && masks === undefined ? 0.85 - onSquares : 0.5);
    const onSets = pass(jitter === false && masks === undefined ? 0.15 : 0.5 - onSquares);
    const wanted = scored !== undefined || jitter !== false || masks !== undefined;
    const { baselines = false } = options;
    const fitted = {
      rows: baselines === false ? [] : rowsIn('train'),
      fits: baselines === true || baselines === false ? undefined : baselines,
      ...{ signal, onWarning, onFit: options.onFit },
    };
    const maps = { wanted, fitted, given: options.sources ?? [] };
    const ofSets = await withMaps(explainer, store, maps, async ({ sources, codes }) => ({
      ...(await scoreRows(explainer, store, {
        rows: scored?.rows ?? rows,
        scored,
        sources: scored ? sources : [],
        codes: new CodeComparison(explainer, codes),
        validation: new Set(kept),
        others: options.onMaps ? rowsIn('all') : [],
        options: { ...options, onProgress: onRows },
      })),
      ...(await scoreSets(explainer, store, {
        ...{ rows, files, scored, sources },
        options: { ...options, onProgress: onSets },
      })),
    }));
    const evaluation = {
      ...ofSets,
      tracks: await scoreTracks(explainer, store, { rows: kept, signal }),
      occlusion: await occlusionCheck(explainer, sample, {
        signal,
        onProgress: pass(onSquares),
      }),
    };
    const { instability } = evaluation;
    if (instability && landmarks) {
      const { fingerprint } = config;
      const source = { fingerprint, step: explainer.step, landmarks: resolve(landmarks) };
      await writePartNames(run, namesOf(instability, source)).catch((error: unknown) => {
        if (!onWarning) throw error;
        onWarning(`Parts keep no names. ${(error as Error).message}`);
      });
    }
    pass(1)(1, 1);
    return evaluation;
  } finally {
    await store.close();
  }
}

/**
 * Gives `use` the sets of maps beside the run's own: the controls, where anything is scored on sets, those of
 * the caller, and the baselines, fitted on rows, if there are any.
 */
async function withMaps<T>(
  explainer: TrainedExplainer,
  store: FeatureStore,
  { wanted, fitted, given }: { wanted: boolean; fitted: FitBaselines; given: readonly MapSource[] },
  use: (maps: { sources: readonly MapSource[]; codes: readonly CodeSource[] }) => Promise<T>,
): Promise<T> {
  const baselines = await openBaselines(explainer, store, fitted);
  try {
    const { sources: codes } = baselines;
    if (!wanted) return await use({ sources: [], codes });
    const controls = await openControls(explainer);
    try {
      return await use({ sources: [...controls.sources, ...given, ...codes], codes });
    } finally {
      controls.dispose();
    }
  } finally {
    baselines.dispose();
  }
}

function photographs({ config }: TrainedExplainer, split: SplitName): string[] {
  const { train, validation } = config.images;
  return split === 'all' ? [...train, ...validation] : split === 'train' ? train : validation;
}

interface Work {
  rows: readonly number[];
  /** The same rows, if there are landmarks. */
  scored: Scored | undefined;
  /** Maps beside the performer's and the explainer's. */
  sources: readonly MapSource[];
  codes: CodeComparison;
  validation: ReadonlySet<number>;
  /** Rows that are only looked at. */
  others: readonly number[];
  options: EvaluateOptions;
}

/** One pass over all rows that are scored, kept out or looked at. */
async function scoreRows(
  explainer: TrainedExplainer,
  store: FeatureStore,
  work: Work,
): Promise<Omit<Evaluation, 'tracks' | 'occlusion' | keyof SetScores>> {
  const { performer, config, p } = explainer;
  const { rows, scored, sources, codes, validation, others, options } = work;
  const { noise, signal, onProgress } = options;
  const { cells } = explainer;
  const rebuilt = rebuiltNames(config.network);
  const places = new Map(rows.map((row, n) => [row, n]));
  const all = [...new Set([...rows, ...validation, ...others])].sort((a, b) => a - b);
  const peaks = emptySets({ explainer, sources }, rows.length);
  const total = all.length + (scored && noise !== undefined ? rows.length : 0);
  const errors = rebuilt.map(() => new RelativeError());
  const head = new HeadComparison({
    classes: performer.output.size,
    kind: performer.output.softmax ? 'probabilities' : 'logits',
  });
  for (let start = 0; start < all.length; start += BATCH) {
    signal?.throwIfAborted();
    const part = all.slice(start, start + BATCH);
    const batch = await readBatch(store, part, {
      targets: performer.targets.length,
      bypass: performer.bypass.length,
      output: true,
    });
    const { features } = batch;
    const maps = await explainer.maps(features, part.length);
    const images = part.map((row) => store.rows[row] ?? missingRow(row));
    options.onMaps?.({ images, features, bypass: batch.bypass, maps });
    if (part.some((row) => places.has(row))) {
      const own = { performer: features, ...maps };
      const sets = await mapsOfSets(sources, own, { count: part.length, cells });
      part.forEach((row, i) => {
        const n = places.get(row);
        if (n !== undefined) takePeaks(peaks, sets, { i, n, cells });
      });
    }
    const kept = part.flatMap((row, i) => (validation.has(row) ? [i] : []));
    await compareHeads(explainer, batch, { images, kept, rebuilt: maps.rebuilt, errors, head });
    await codes.add(batch, { kept, images: part.length });
    onProgress?.(start + part.length, total);
  }
  const noisy =
    scored && noise !== undefined
      ? await peaksWithNoise({ explainer, sources }, scored.files, {
          deviation: noise,
          signal,
          onProgress: (done) => onProgress?.(all.length + done, total),
        })
      : undefined;
  const named = rebuilt.map((name, l) => [name, errors[l]?.value ?? NaN] as const);
  return {
    instability: scored && (await scoreFilters(explainer, { ...scored, peaks, noisy })),
    p,
    deadFilters: countDead(peaks.layer2),
    reconstruction: Object.fromEntries(named),
    head: head.scores(),
    codes: codes.scores(),
  };
}

function countDead({ images, filters, value }: Peaks): number {
  let dead = 0;
  for (let f = 0; f < filters; f++) {
    let fires = false;
    for (let n = 0; n < images && !fires; n++) fires = (value[n * filters + f] ?? 0) > 0;
    if (!fires) dead++;
  }
  return dead;
}
