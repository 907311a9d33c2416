import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { listImages } from '../data/images.js';
import { PartlensError } from '../errors.js';
import {
  evaluateExplainer,
  type EvaluatedBatch,
  type EvaluateOptions,
  type Evaluation,
} from '../evaluate/evaluate.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { interventionCost } from '../explainer/interventions.js';
import { rebuiltNames } from '../explainer/network.js';
import { gridOf } from '../evaluate/filter_scores.js';
import { occlusionHolds } from '../evaluate/metrics/index.js';
import { occlusionVerdict } from '../evaluate/occlusion.js';
import { readMetrics } from '../explainer/metrics_log.js';
import { readPartNames } from '../evaluate/part_names.js';
import { verdictOf } from '../evaluate/verdict.js';
import { VERSION } from '../version.js';
import { comparisonOf } from './comparison.js';
import { configurationOf } from './configuration.js';
import { measureContributions, type SampledFeatures, type SwitchOff } from './contributions.js';
import { trainingCurves } from './curves.js';
import type { FilterFacts, Picture, ReportData, Scores } from './data.js';
import { filterFacts, finite } from './filters.js';
import { Gallery, SHOWN } from './gallery.js';
import { MAX_PICTURES, shrinkPictures } from './pictures.js';
import { ClassSample } from './sample.js';

/** What a report is doing. */
export interface ReportProgress {
  phase: 'maps' | 'pictures' | 'contributions';
  done: number;
  total: number;
}

export interface CollectOptions {
  /**
   * CSV of landmarks, default that of the last evaluation of this checkpoint; without any, parts have no
   * names and no instability.
   */
  landmarks?: string | undefined;
  /** Folder of part masks, as `evaluate` takes them. */
  masks?: string | undefined;
  /** Baselines to be scored beside the filters, as `evaluate` takes them. */
  baselines?: EvaluateOptions['baselines'];
  /**
   * Photographs on which contributions are measured, default 96, at least 12 of each class; fewer for large
   * networks.
   */
  sample?: number | undefined;
  /** Folder of the report: paths are relative to it. */
  folder: string;
  switchOff: SwitchOff;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: ReportProgress) => void) | undefined;
  onWarning?: ((text: string) => void) | undefined;
}

/** Photographs of a class that are enough to say what gives most to it, with a few to spare. */
const PER_CLASS = 12;
/** Multiply-adds of all interventions: a minute or less on two cores. */
const INTERVENTION_COST = 2e12;

/**
 * Everything that a report shows, and the evaluation that it rests on: one pass over all photographs of
 * the run. Throws what `Explainer.evaluate` throws, `E_FILE` when a photograph cannot be read.
 */
export async function collectReport(
  explainer: TrainedExplainer,
  options: CollectOptions,
): Promise<{ data: ReportData; evaluation: Evaluation }> {
  const { performer, config } = explainer;
  const { signal, onProgress, onWarning } = options;
  const seen = new Observed(explainer, options);
  const evaluation = await evaluateExplainer(explainer, {
    landmarks: options.landmarks ?? (await knownLandmarks(explainer, onWarning)),
    masks: options.masks,
    baselines: options.baselines,
    signal,
    onWarning,
    onProgress: (done, total) => onProgress?.({ phase: 'maps', done, total }),
    onMaps: (batch) => seen.add(batch),
  });
  const sets = await filterSets(seen, evaluation, explainer);
  const pictures = await picturesOf(seen, sets.images, explainer, options);
  const contributions = await measureContributions(seen.sample.items(), sets.explainer, {
    performer,
    switchOff: options.switchOff,
    signal,
    onProgress: (done, total) => onProgress?.({ phase: 'contributions', done, total }),
  });
  const { input, layer } = performer;
  const targets = rebuiltNames(config.network);
  const data: ReportData = {
    run: {
      version: VERSION,
      model: basename(performer.path),
      layer: performer.layer.name,
      targets,
      photographs: seen.count,
      validation: config.images.validation.length,
      steps: explainer.step,
    },
    verdict: verdictOf(evaluation),
    scores: { ...scoresOf(evaluation), parts: sets.parts },
    comparison: comparisonOf(evaluation.instability),
    frame: { height: input.height, width: input.width, field: layer.geometry.size },
    pictures,
    classes: seen.classes,
    explainer: sets.explainer,
    performer: sets.performer,
    contributions,
    curves: trainingCurves(await readMetrics(explainer.run), targets),
    configuration: configurationOf(explainer, options.folder),
  };
  return { data, evaluation };
}

/** The landmarks that the run's `parts.json` rests on, if they are still there. */
async function knownLandmarks(
  { run, config, step }: TrainedExplainer,
  onWarning: CollectOptions['onWarning'],
): Promise<string | undefined> {
  const { fingerprint } = config;
  const path = (await readPartNames(run, { fingerprint, step }, onWarning))?.landmarks;
  if (path === undefined || existsSync(path)) return path;
  onWarning?.(`${path} is gone: parts have no names. Give their landmarks by --landmarks.`);
  return undefined;
}

/** What one pass over the photographs leaves. */
class Observed {
  readonly explainer: Gallery;
  readonly performer: Gallery;
  /** Path of each photograph, and its class. */
  readonly paths: string[] = [];
  readonly classOf: number[] = [];
  readonly classes: string[] = [];
  /** What the performer makes of some photographs of each class. */
  readonly sample: ClassSample<SampledFeatures>;

  constructor(explainer: TrainedExplainer, { sample }: CollectOptions) {
    const { config, cells } = explainer;
    const { channels, filters } = config.network;
    const { train, validation } = config.images;
    const count = train.length + validation.length;
    this.explainer = new Gallery(count, { filters, cells });
    this.performer = new Gallery(count, { filters: channels, cells });
    const folders = new Set([...train, ...validation].map((path) => path.replace(/[^/]*$/, '')));
    const wanted = sample ?? Math.max(96, PER_CLASS * folders.size);
    const most = Math.min(wanted, INTERVENTION_COST / (filters * interventionCost(explainer)));
    this.sample = new ClassSample(
      Math.max(1, Math.floor(most / folders.size)),
      config.options.seed,
    );
  }

  get count(): number {
    return this.paths.length;
  }

  add({ images, features, bypass, maps }: EvaluatedBatch): void {
    const first = this.count;
    this.explainer.add(maps.layer2, first, images.length);
    this.performer.add(features, first, images.length);
    const cut = (data: Float32Array, n: number): Float32Array => {
      const size = data.length / images.length;
      return data.slice(n * size, (n + 1) * size);
    };
    images.forEach(({ image, className }, n) => {
      let c = this.classes.indexOf(className);
      if (c < 0) c = this.classes.push(className) - 1;
      this.paths.push(image);
      this.classOf.push(c);
      this.sample.offer(c, () => ({
        layer: cut(features, n),
        bypass: bypass.map((data) => cut(data, n)),
      }));
    });
  }
}

interface FilterSets {
  explainer: FilterFacts[];
  performer: FilterFacts[];
  parts: Scores['parts'];
  /** Photographs that are shown. */
  images: number[];
}

async function filterSets(
  seen: Observed,
  { instability }: Evaluation,
  { performer }: TrainedExplainer,
): Promise<FilterSets> {
  const grid = gridOf(performer);
  const scored = (of: 'layer2' | 'performer') => {
    if (!instability) return undefined;
    const { [of]: scores, names, annotations } = instability;
    return { scores, names: names[of], annotations };
  };
  const { images, shown } = shownImages([seen.explainer, seen.performer]);
  const places = new Map(images.map((image, i) => [image, i]));
  const common = {
    grid,
    size: [performer.input.height, performer.input.width] as const,
    classOf: Int32Array.from(seen.classOf),
    classes: seen.classes,
    pictureOf: (image: number) => places.get(image) ?? 0,
    shown,
  };
  const own = scored('layer2');
  const theirs = scored('performer');
  const explainer = filterFacts({
    ...common,
    gallery: seen.explainer,
    scored: own,
    performer: seen.performer,
  });
  await new Promise(setImmediate); // two seconds of work for large networks: let others have a turn
  const performers = filterFacts({ ...common, gallery: seen.performer, scored: theirs });
  const parts = own &&
    theirs && {
      all: own.scores.parts.landmarks,
      explainer: own.scores.parts.covered,
      performer: theirs.scores.parts.covered,
      purity: {
        performer: finite(theirs.scores.parts.purity),
        explainer: finite(own.scores.parts.purity),
      },
      consistency: {
        performer: finite(theirs.scores.consistency.value),
        explainer: finite(own.scores.consistency.value),
      },
    };
  return { explainer, performer: performers, parts, images };
}

/** The strongest photographs of all filters, fewer of each where they would be too many. */
function shownImages(galleries: readonly Gallery[]): { images: number[]; shown: number } {
  for (let shown = SHOWN; ; shown--) {
    const images = new Set(
      galleries.flatMap(({ strongest }) =>
        strongest.flatMap((list) => list.slice(0, shown).map(({ image }) => image)),
      ),
    );
    if (images.size > MAX_PICTURES && shown > 1) continue;
    return { images: [...images].sort((a, b) => a - b), shown };
  }
}

async function picturesOf(
  { paths, classOf }: Observed,
  images: readonly number[],
  { config }: TrainedExplainer,
  { signal, onProgress }: CollectOptions,
): Promise<Picture[]> {
  const list = await listImages(config.images.folder);
  const files = new Map(list.images.map((file) => [file.path, file]));
  const chosen = images.map((n) => {
    const file = files.get(paths[n] ?? '');
    if (file) return file;
    throw new PartlensError('E_FILE', `${paths[n] ?? ''} is gone from ${list.root}.`, {
      op: 'report',
    });
  });
  onProgress?.({ phase: 'pictures', done: 0, total: chosen.length });
  const small = await shrinkPictures(chosen, { signal });
  return chosen.map(({ path }, i) => ({
    image: path,
    class: classOf[images[i] ?? 0] ?? 0,
    webp: small[i] ?? '',
  }));
}

function occlusionOf(check: Evaluation['occlusion']): Scores['occlusion'] {
  if (!check) return undefined;
  return {
    images: check.images,
    largest: finite(check.largest),
    smallest: finite(check.smallest),
    random: finite(check.random),
    energy: finite(check.energy),
    randomPlace: finite(check.randomPlace),
    pairedDifference: finite(check.pairedDifference),
    standardError: finite(check.standardError),
    holds: occlusionHolds(check),
    verdict: occlusionVerdict(check),
  };
}

function scoresOf(evaluation: Evaluation): Omit<Scores, 'parts'> {
  const { instability, p, tracks, head, reconstruction } = evaluation;
  return {
    instability: instability && {
      performer: finite(instability.performer.value),
      layer1: finite(instability.layer1.value),
      layer2: finite(instability.layer2.value),
      fixedPosition: finite(instability.controls.fixedPositionBest.value),
      random: finite(instability.controls.random.value),
      images: instability.layer2.images,
      landmarks: instability.landmarks,
    },
    p,
    tracks: {
      share: finite(tracks.share),
      parts: finite(tracks.agreement.parts),
      ordinary: finite(tracks.agreement.ordinary),
      swap: finite(tracks.swap),
    },
    occlusion: occlusionOf(evaluation.occlusion),
    head: {
      agreement: finite(head.agreement),
      halfL1: finite(head.halfL1),
      performerError: finite(head.performerError),
      explainerError: finite(head.explainerError),
      kl: finite(head.kl),
      images: head.images,
    },
    reconstruction: Object.entries(reconstruction).map(([name, error]) => ({
      name,
      error: finite(error),
    })),
  };
}
