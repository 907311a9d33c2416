import { join } from 'node:path';
import type { FeatureRow, FeatureStore } from '../data/feature_store.js';
import { listImages } from '../data/images.js';
import {
  annotatedImages,
  readLandmarks,
  selectImages,
  type Annotations,
} from '../data/landmarks.js';
import { PartlensError } from '../errors.js';
import {
  controls,
  emptyPeaks,
  HeadComparison,
  locationInstability,
  peaksOf,
  RelativeError,
  type Controls,
  type Grid,
  type HeadScores,
  type LocationInstability,
  type Peaks,
} from '../metrics/index.js';
import type { Performer } from '../performer/index.js';
import { readBatch } from './batches.js';
import type { Explainer, ExplainerMaps } from './explainer.js';
import { chooseImages, extractFeatures, OUTPUT, rowsOf } from './features.js';
import { namesOf, writePartNames } from './part_names.js';
import { stoppable } from './stop.js';

export type SplitName = 'all' | 'train' | 'validation';

export interface EvaluateOptions {
  /** CSV of landmarks; without it no location instability. */
  landmarks?: string | undefined;
  /** Photographs whose landmarks are scored, default `all`. */
  split?: SplitName | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  onWarning?: ((text: string) => void) | undefined;
  /** Sees the maps of every photograph of the run, also of those that are not scored. */
  onMaps?: ((batch: EvaluatedBatch) => void) | undefined;
}

/** Maps of some photographs on their way through `evaluate`. */
export interface EvaluatedBatch {
  images: readonly FeatureRow[];
  /** The performer's maps, (images, C, n, n). */
  features: Float32Array;
  maps: ExplainerMaps;
}

/** Scores of one set of filters. */
export interface FilterScores extends LocationInstability {
  peaks: Peaks;
}

/** What an explainer is worth: DESIGN 1.3. Fractions of the image diagonal, shares 0..1, nats. */
export interface Evaluation {
  /** Location instability of the performer's own filters, and of both interpretable layers. */
  instability:
    | {
        performer: FilterScores;
        layer1: FilterScores;
        layer2: FilterScores;
        controls: Controls;
        annotations: Annotations;
        /** Landmark positions that were used. */
        landmarks: number;
      }
    | undefined;
  p: number;
  /** Filters of conv_interp_2 that never fire, on the scored photographs or else on all. */
  deadFilters: number;
  /** Relative error of each rebuilt target on the validation photographs; NaN without any. */
  reconstruction: Record<string, number>;
  /** The performer's own head on rebuilt features, on the validation photographs. */
  head: HeadScores;
}

const BATCH = 32;

/**
 * Evaluates an explainer: see `Explainer.evaluate`. With landmarks it writes `parts.json`. Throws `E_FILE` when photographs are gone, `E_STATE`
 * when they changed since the run or when the signal stops it.
 */
export async function evaluateExplainer(
  explainer: Explainer,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const stop = { op: 'evaluate', message: 'The evaluation was stopped.' };
  return stoppable(options.signal, stop, () => evaluateRun(explainer, options));
}

async function evaluateRun(explainer: Explainer, options: EvaluateOptions): Promise<Evaluation> {
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
    const files = new Map(images.map(({ path, file }) => [path, file]));
    const rowsIn = (split: SplitName): number[] =>
      rowsOf(store, photographs(explainer, split), false);
    const rows = rowsIn(options.split ?? 'all');
    const { landmarks } = options;
    const scored = landmarks
      ? await annotate(store, rowsIn('all'), { files, landmarks, rows, explainer, onWarning })
      : undefined;
    const evaluation = await scoreRows(explainer, store, {
      rows: scored?.rows ?? rows,
      annotations: scored?.annotations,
      validation: new Set(rowsIn('validation')),
      others: options.onMaps ? rowsIn('all') : [],
      options,
    });
    const { instability } = evaluation;
    if (instability) {
      const at = { annotations: instability.annotations, grid: gridOf(performer) };
      const owner = { fingerprint: config.fingerprint, step: explainer.step };
      await writePartNames(run, namesOf(instability.layer2, at, owner));
    }
    return evaluation;
  } finally {
    await store.close();
  }
}

function photographs({ config }: Explainer, split: SplitName): string[] {
  const { train, validation } = config.images;
  return split === 'all' ? [...train, ...validation] : split === 'train' ? train : validation;
}

interface Scored {
  /** Rows of the store with at least one landmark, and their landmarks. */
  rows: number[];
  annotations: Annotations;
}

/** Landmarks of the run's photographs, those of some rows taken. */
async function annotate(
  store: FeatureStore,
  all: readonly number[],
  given: {
    files: ReadonlyMap<string, string>;
    landmarks: string;
    /** Rows that are scored. */
    rows: readonly number[];
    explainer: Explainer;
    onWarning: EvaluateOptions['onWarning'];
  },
): Promise<Scored> {
  const { files, landmarks, rows, explainer, onWarning } = given;
  const images = all.map((row) => {
    const { image, className, width, height } = store.rows[row] ?? missingRow(row);
    return { file: files.get(image) ?? '', className, width, height };
  });
  const { annotations } = await readLandmarks(landmarks, images, {
    size: explainer.performer.preprocessing.size,
    ...(onWarning ? { onWarning } : {}),
  });
  const wanted = new Set(rows);
  const chosen = annotatedImages(annotations).filter((n) => wanted.has(all[n] ?? -1));
  return {
    rows: Array.from(chosen, (n) => all[n] ?? 0),
    annotations: selectImages(annotations, chosen),
  };
}

interface Work {
  rows: readonly number[];
  annotations: Annotations | undefined;
  validation: ReadonlySet<number>;
  /** Rows that are only looked at. */
  others: readonly number[];
  options: EvaluateOptions;
}

/** One pass over all rows that are scored, kept out or looked at. */
async function scoreRows(
  explainer: Explainer,
  store: FeatureStore,
  work: Work,
): Promise<Evaluation> {
  const { performer, config, p } = explainer;
  const { rows, annotations, validation, others, options } = work;
  const { channels, side, filters, targets } = config.network;
  const cells = side * side;
  const places = new Map(rows.map((row, n) => [row, n]));
  const all = [...new Set([...rows, ...validation, ...others])].sort((a, b) => a - b);
  const peaks = {
    performer: emptyPeaks(rows.length, channels),
    layer1: emptyPeaks(rows.length, filters),
    layer2: emptyPeaks(rows.length, filters),
  };
  const errors = targets.map(() => new RelativeError());
  const head = new HeadComparison({
    classes: performer.output.size,
    kind: performer.output.softmax ? 'probabilities' : 'logits',
  });
  for (let start = 0; start < all.length; start += BATCH) {
    options.signal?.throwIfAborted();
    const part = all.slice(start, start + BATCH);
    const { features, targets: wanted } = await readBatch(store, part, targets.length);
    const maps = await explainer.maps(features, part.length);
    const images = part.map((row) => store.rows[row] ?? missingRow(row));
    options.onMaps?.({ images, features, maps });
    part.forEach((row, i) => {
      const first = places.get(row);
      if (first === undefined) return;
      const take = (from: Float32Array, count: number): Float32Array =>
        from.subarray(i * count * cells, (i + 1) * count * cells);
      const one = { images: 1, cells };
      peaksOf(
        take(features, channels),
        { ...one, filters: channels },
        { into: peaks.performer, first },
      );
      peaksOf(take(maps.layer1, filters), { ...one, filters }, { into: peaks.layer1, first });
      peaksOf(take(maps.layer2, filters), { ...one, filters }, { into: peaks.layer2, first });
    });
    await compareHeads(explainer, store, {
      part,
      validation,
      maps: maps.rebuilt,
      wanted,
      errors,
      head,
    });
    options.onProgress?.(start + part.length, all.length);
  }
  const named = targets.map(({ name }, l) => [name, errors[l]?.value ?? NaN] as const);
  return {
    instability: annotations && scoreFilters(explainer, peaks, annotations),
    p,
    deadFilters: countDead(peaks.layer2),
    reconstruction: Object.fromEntries(named),
    head: head.scores(),
  };
}

async function compareHeads(
  { performer }: Explainer,
  store: FeatureStore,
  batch: {
    part: readonly number[];
    validation: ReadonlySet<number>;
    maps: readonly Float32Array[];
    wanted: readonly Float32Array[];
    errors: readonly RelativeError[];
    head: HeadComparison;
  },
): Promise<void> {
  const { part, validation, maps, wanted, errors, head } = batch;
  const kept = part.flatMap((row, i) => (validation.has(row) ? [i] : []));
  if (kept.length === 0) return;
  const pick = (data: Float32Array | undefined): Float32Array => {
    const size = (data?.length ?? 0) / part.length;
    const picked = new Float32Array(kept.length * size);
    kept.forEach((i, n) => {
      picked.set(data?.subarray(i * size, (i + 1) * size) ?? [], n * size);
    });
    return picked;
  };
  errors.forEach((error, l) => error.add(pick(maps[l]), pick(wanted[l])));
  const rows = kept.map((i) => part[i] ?? 0);
  const own = new Float32Array(rows.length * performer.output.size);
  await store.read(OUTPUT, rows, own);
  const rebuilt = await performer.head(pick(maps.at(-1)), rows.length);
  const labels = rows.map(
    (row) => performer.classes?.indexOf(store.rows[row]?.className ?? '') ?? -1,
  );
  head.add(own, rebuilt, labels);
}

function scoreFilters(
  { performer, config }: Explainer,
  peaks: { performer: Peaks; layer1: Peaks; layer2: Peaks },
  annotations: Annotations,
): Evaluation['instability'] {
  const grid = gridOf(performer);
  const score = (of: Peaks): FilterScores => ({
    ...locationInstability({ peaks: of, annotations, grid }),
    peaks: of,
  });
  return {
    performer: score(peaks.performer),
    layer1: score(peaks.layer1),
    layer2: score(peaks.layer2),
    controls: controls({ annotations, grid }, { seed: config.options.seed }),
    annotations,
    landmarks: annotations.y.filter((y) => !Number.isNaN(y)).length,
  };
}

/** Where the cells of the explained maps lie. */
export function gridOf({ layer: { size, geometry } }: Performer): Grid {
  return { rows: size, columns: size, stride: geometry.stride, first: geometry.firstCentre };
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

function missingRow(row: number): never {
  throw new PartlensError('E_INTERNAL', `no row ${String(row)} in the feature store`);
}

/** The JSON of `partlens evaluate --json`; what cannot be told is null. */
export function evaluationJson(evaluation: Evaluation): Record<string, unknown> {
  const { instability, head, reconstruction } = evaluation;
  const number = (value: number | undefined): number | null =>
    value === undefined || Number.isNaN(value) ? null : value;
  return {
    performer: { locationInstability: number(instability?.performer.value) },
    explainer: {
      locationInstability: number(instability?.layer2.value),
      layer1: { locationInstability: number(instability?.layer1.value) },
    },
    controls: {
      fixedPositionBest: number(instability?.controls.fixedPositionBest),
      fixedPositionCentre: number(instability?.controls.fixedPositionCentre),
      random: number(instability?.controls.random),
    },
    p: number(evaluation.p),
    deadFilters: evaluation.deadFilters,
    reconstruction: Object.fromEntries(
      Object.entries(reconstruction).map(([name, error]) => [name, number(error)]),
    ),
    head: {
      agreement: number(head.agreement),
      performerError: number(head.performerError),
      explainerError: number(head.explainerError),
      kl: number(head.kl),
    },
    images: instability?.layer2.images ?? 0,
    landmarks: instability?.landmarks ?? 0,
  };
}
