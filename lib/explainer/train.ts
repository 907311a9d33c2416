import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { removeTemporaries } from '../data/atomic.js';
import type { FeatureStore } from '../data/feature_store.js';
import { fileError } from '../data/file_error.js';
import { fingerprint } from '../data/fingerprint.js';
import {
  listImages,
  listNotices,
  type ImageFile,
  type ImageList,
  type ImageSummary,
} from '../data/images.js';
import { expected, PartlensError, requireNames, requireText } from '../errors.js';
import { Performer } from '../performer/index.js';
import { deviceOptions, type DeviceOptions } from '../engine/session.js';
import { VERSION } from '../version.js';
import { batchRows, readBatch, type BatchOptions, type BatchParts } from './batches.js';
import { loadCheckpoint } from './checkpoint.js';
import { initialDirections } from './directions.js';
import { chooseImages, extractFeatures, LAYER, rowsOf, targetName } from './features.js';
import { holdRun } from './hold_run.js';
import {
  goOnWith,
  knownConfig,
  optionsOfRun,
  OTHER_DATA,
  otherRun,
  refuseOtherRun,
} from './resume.js';
import { balancedClasses } from './balance.js';
import { tellAccuracy, type AccuracyListener } from './own_accuracy.js';
import { parseTrainOptions, type TrainOptions, type TrainOptionsInput } from './options.js';
import { networkSpec, RUN_FORMAT, writeRunConfig, type RunConfig } from './run_folder.js';
import { sitePower } from './site_power.js';
import { splitImages } from './split.js';
import { trainSteps, type TrainProgress } from './steps.js';
import { stoppable } from './stop.js';
import { Trainer, type Batch } from './trainer.js';
import { watchedImages, Watcher, type TrainWatch } from './watch.js';

export type { TrainProgress } from './steps.js';

export interface TrainExplainerOptions extends TrainOptionsInput, DeviceOptions, AccuracyListener {
  performer: Performer;
  /** Folder of photographs; each sub-folder is a class. */
  images: string;
  /** Only these classes, default all. */
  classes?: readonly string[];
  /** Run folder, default `partlens-run`. Features in it are reused when they fit. */
  out?: string;
  /** Go on with the run that is there; without it a folder with a run is refused. */
  resume?: boolean;
  /** Keep the run folder to one training by a lock, default true; false where a file system refuses locks. */
  lock?: boolean | undefined;
  /** Stops after the steps under way (two at most) with a checkpoint; the promise rejects: `E_STATE`. */
  signal?: AbortSignal | undefined;
  onProgress?: (progress: TrainProgress) => void;
  /** Part maps while the training goes on. */
  watch?: TrainWatch | undefined;
  /** Images that are skipped, checkpoints that cannot be read, a CNN that knows few of the photographs. */
  onWarning?: (text: string) => void;
}

/** A training that has taken its last step. */
export interface FinishedRun {
  /** Its folder. */
  run: string;
  /** Images that were used and skipped. */
  summary: ImageSummary;
}

/** Trains in a run folder, see `trainExplainer`, and leaves its last checkpoint there. */
export async function trainRun(given: TrainExplainerOptions): Promise<FinishedRun> {
  const options = parseTrainOptions(given);
  const { performer, images: folder, classes } = given;
  if (!(performer instanceof Performer)) {
    throw expected('what loadPerformer gives', 'performer', performer, { op: 'train' });
  }
  requireText(folder, 'images', 'train');
  if (classes !== undefined) requireNames(classes, 'classes', 'train');
  if (!given.resume) checkCut(options, performer);
  const run = resolve(given.out ?? 'partlens-run');
  await refuseOtherRun(run, given.resume ?? false);
  const list = await listImages(folder);
  const images = chooseImages(list, classes);
  for (const text of listNotices(list)) given.onWarning?.(text);
  const giveBack = await holdRun(run, given);
  try {
    return await trainHeld(run, { list, images, options, given });
  } finally {
    await giveBack();
  }
}

/** Throws `E_ARGUMENT` where the performer is not cut as the options need it, or its maps are too small for them. */
function checkCut(
  { decoder, lambdaRec, kernel, context = kernel }: TrainOptions,
  { learned, targets, layer }: Performer,
): void {
  const most = 2 * Math.max(layer.height, layer.width) - 1;
  for (const [name, side] of Object.entries({ kernel, context })) {
    if (side <= most) continue;
    throw expected(`at most ${String(most)}`, name, side, {
      op: 'train',
      remedy: `Maps of ${String(layer.height)} x ${String(layer.width)} cells have no cells further apart.`,
    });
  }
  if (decoder === 'learned' && typeof learned === 'string') {
    throw expected('a cut that fully connected layers can follow', 'decoder', decoder, {
      op: 'train',
      remedy: `${learned}.\nLoad the performer for this decoder, or name fully connected features as targets.`,
    });
  }
  if (typeof lambdaRec === 'number' || lambdaRec.length === targets.length) return;
  const what = `one number, or ${String(targets.length)}, one for each target,`;
  throw expected(what, 'lambdaRec', lambdaRec, { op: 'train' });
}

/** Trains in a folder that no other training has. */
async function trainHeld(
  run: string,
  {
    list,
    images,
    options: asked,
    given,
  }: { list: ImageList; images: ImageFile[]; options: TrainOptions; given: TrainExplainerOptions },
): Promise<FinishedRun> {
  for (const folder of [run, join(run, 'checkpoints')]) await removeTemporaries(folder);
  const known = given.resume ? await knownConfig(run) : undefined;
  const options = known ? optionsOfRun(run, known.options, { given, options: asked }) : asked;
  const { performer } = given;
  if (given.resume) checkCut(options, performer); // a run's own options may be others than today's
  const { store, summary } = await extract(run, images, options, given);
  try {
    const config = goOnWith(run, known, await plan(given, options, store, list.root));
    await writeRunConfig(run, config);
    await tellAccuracy(performer, store, given);
    await runSteps(run, config, store, given);
    return { run, summary };
  } finally {
    await store.close();
  }
}

/** The features of all images; a run that is resumed keeps those that it has. */
async function extract(
  run: string,
  images: readonly ImageFile[],
  { mirror, features: dtype }: TrainOptions,
  { performer, resume, signal, onProgress, onWarning }: TrainExplainerOptions,
): ReturnType<typeof extractFeatures> {
  const folder = join(run, 'features');
  await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw fileError('write', folder, cause);
  });
  const message = 'Training was stopped while it extracted features.\nGo on with --resume.';
  let first: { at: number; done: number } | undefined; // what an earlier run has done costs no time
  const extraction = {
    ...{ performer, images, folder, mirror, dtype, signal, onWarning },
    onProgress: (done: number, total: number) => {
      const at = performance.now();
      first ??= { at, done };
      const speed = (done - first.done) / (at - first.at); // images a millisecond
      const left = speed > 0 ? { secondsLeft: (total - done) / speed / 1000 } : {};
      onProgress?.({ phase: 'features', done, total, ...left });
    },
    onOtherStore: () => {
      if (resume) throw otherRun(run, OTHER_DATA);
    },
  };
  return stoppable(signal, { op: 'train', message }, () => extractFeatures(extraction));
}

/** The network's sizes, and the scales of features and targets over the training rows. */
async function scales(
  performer: Performer,
  options: TrainOptions,
  store: FeatureStore,
  rows: readonly number[],
): Promise<Pick<RunConfig, 'network' | 'targetPower'>> {
  const { layer, site, targets } = performer;
  const { mean, meanSquare } = await store.moments(LAYER, rows);
  const strength = layer.relu ? mean : Math.sqrt(meanSquare);
  if (!(strength > 0)) {
    throw new PartlensError('E_STATE', `The maps of ${layer.name} are 0 for all images.`);
  }
  const classes = await balancedClasses(performer, options, store, rows);
  const network = { ...specOf(performer, options), featureScale: 1 / strength, ...classes };
  const ofMaps = network.site
    ? [[site.name, await sitePower(performer, store, rows)] as const]
    : [];
  const compared = network.site && !performer.tailPart ? [] : targets;
  const ofTargets = await Promise.all(
    compared.map(
      async ({ name }, l) => [name, await store.meanSquare(targetName(l), rows)] as const,
    ),
  );
  const powers = [...ofMaps, ...ofTargets];
  const silent = powers.find(([, power]) => !(power > 0));
  if (silent) throw new PartlensError('E_STATE', `${silent[0]} is 0 for all images.`);
  return { network, targetPower: powers.map(([, power]) => power) };
}

/** Everything that the steps depend on, as `config.json` keeps it. */
async function plan(
  { performer, classes }: TrainExplainerOptions,
  options: TrainOptions,
  store: FeatureStore,
  folder: string,
): Promise<RunConfig> {
  const photographs = store.rows.filter(({ mirrored }) => !mirrored).map(({ image }) => image);
  const split = splitImages(photographs, options.validation, options.seed);
  const rows = rowsOf(store, split.train, true);
  const { network, targetPower } = await scales(performer, options, store, rows);
  const batch = Math.min(options.batch, rows.length);
  const config: RunConfig = {
    format: RUN_FORMAT,
    partlens: VERSION,
    performer: describePerformer(performer),
    images: { folder, ...(classes ? { classes: [...classes] } : {}), ...split },
    network,
    targetPower,
    batch,
    steps:
      options.epochs === undefined
        ? options.steps
        : options.epochs * Math.floor(rows.length / batch),
    options,
    fingerprint: '',
  };
  // Where the files lie does not matter, what they hold does; nor which version began the run.
  const { layer, targets, output, preprocessing } = config.performer;
  const seen = { model: performer.fingerprint, layer, targets, output, preprocessing };
  const facts = { ...config, partlens: undefined, performer: seen, images: split };
  return { ...config, fingerprint: fingerprint(facts) };
}

function describePerformer(performer: Performer): RunConfig['performer'] {
  return {
    path: resolve(performer.path),
    fingerprint: performer.fingerprint,
    layer: performer.layer.name,
    targets: performer.targets.map(({ name }) => name),
    output: performer.output.name,
    preprocessing: performer.preprocessing,
  };
}

function specOf(
  { layer, site, learned, targets }: Performer,
  options: TrainOptions,
): Omit<RunConfig['network'], 'featureScale'> {
  const own = options.decoder === 'own';
  const pool = own ? site.pool : typeof learned === 'string' ? undefined : learned.pool;
  return {
    channels: layer.channels,
    height: layer.height,
    width: layer.width,
    filters: options.filters === 0 ? layer.channels : options.filters,
    ...(pool
      ? {
          pool: {
            kernel: [...pool.kernel],
            stride: [...pool.stride],
            pad: [...pool.pad],
            ceil: pool.ceil,
          },
        }
      : {}),
    ...(own ? { site: { name: site.name, channels: site.channels, relu: site.relu } } : {}),
    targets: targets.map(({ name, shape, size, relu }) => ({
      name,
      shape: [...shape],
      size,
      relu,
    })),
  };
}

/** Batches that the decoder starts from. */
const FIRST_BATCHES = 8;

/** What the steps read beside the layer's maps. */
function batchParts(
  { network: { site, targets, classes }, options }: RunConfig,
  { tailPart, bypass, output }: Performer,
): BatchParts {
  const balanced = classes !== undefined;
  if (!site) return { targets: targets.length, bypass: 0, output: balanced };
  if (!tailPart) return { targets: 0, bypass: 0, output: balanced };
  const divergence = output.classifier && options.lambdaKl > 0;
  return {
    targets: targets.length,
    bypass: bypass.length,
    output: balanced || divergence,
  };
}

async function runSteps(
  run: string,
  config: RunConfig,
  store: FeatureStore,
  given: TrainExplainerOptions,
): Promise<void> {
  const { options, network: spec, batch, steps, targetPower } = config;
  const rows = rowsOf(store, config.images.train, true);
  const { tailPart: tail, output } = given.performer;
  const through = spec.site ? tail : undefined;
  const reading: BatchOptions = {
    store,
    rows,
    batch,
    wanted: batchParts(config, given.performer),
    seed: options.seed,
  };
  const trainer = await Trainer.create({
    spec: networkSpec(config),
    options,
    batch,
    steps,
    targetPower,
    tail: through,
    softmax: output.softmax,
    watched: watchedImages(config, given.watch),
    ...deviceOptions(given),
  });
  try {
    const watcher = given.watch && (await Watcher.create(given.watch, { trainer, store, config }));
    const checkpoint = given.resume
      ? await loadCheckpoint(run, config.fingerprint, {
          needed: trainer.session.persistent(),
          onWarning: given.onWarning,
        })
      : undefined;
    if (checkpoint) await trainer.restore(checkpoint.tensors);
    else {
      const first: Batch[] = [];
      for (let step = 0; step < Math.min(FIRST_BATCHES, steps); step++) {
        first.push(await readBatch(store, batchRows(reading, step), reading.wanted));
      }
      const device = deviceOptions(given);
      await trainer.initialise(first, await initialDirections(store, rows, config, device));
    }
    const from = checkpoint?.step ?? 0;
    const { signal, onProgress } = given;
    await trainSteps(run, config, { trainer, reading, from, signal, onProgress, watcher });
  } finally {
    trainer.dispose();
  }
}
