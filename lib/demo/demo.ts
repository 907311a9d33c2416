import { join, resolve } from 'node:path';
import { listImages } from '../data/images.js';
import { expected } from '../errors.js';
import type { Evaluation } from '../evaluate/evaluate.js';
import { parseTrainOptions } from '../explainer/options.js';
import { stoppable } from '../explainer/stop.js';
import { trainExplainer } from '../explainer.js';
import { loadPerformer } from '../performer/index.js';
import { writeReport } from '../report/report.js';
import { deviceOptions, type DeviceOptions } from '../engine/session.js';
import { BIRD_CLASSES, writeBirds } from './bird_images.js';
import { DEMO_LAYER, DEMO_SIDE, DEMO_TARGETS, trainCnn } from './cnn.js';
import { prepareFolder } from './folder.js';

/**
 * A few passes over clean pictures; the filters, which find their parts soon, learn in half of the steps, and
 * are pushed apart further than on photographs: more parts of a small bird are found so.
 */
const QUICK = { batch: 32, filterShare: 0.5, rho: 1.5, diversity: 30 } as const;

/** What the demo does, one after another, and its usual share of the time. */
const PHASES = {
  'drawing birds': 0.13,
  'training the CNN': 0.29,
  'extracting features': 0.07,
  'training the explainer': 0.41,
  'writing the report': 0.1,
} as const;

/** One display of progress for the whole demo. */
export interface DemoProgress {
  phase: keyof typeof PHASES;
  /** Share of the whole demo that is done, about, 0..1; never less than before. */
  share: number;
  detail: string;
}

export interface DemoOptions extends DeviceOptions {
  /** Folder for everything, default `partlens-demo`. */
  out?: string;
  /** Images that are drawn, default 2400. */
  images?: number;
  /** Side of the images, pixels, default 112. */
  size?: number;
  seed?: number;
  /** Passes of the CNN over the images, default 12, more for few images. */
  cnnEpochs?: number;
  /** Passes of the explainer over the images, default 6, more for few images. */
  epochs?: number | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: (progress: DemoProgress) => void;
}

export interface DemoResult {
  /** Folder of the pictures, of the CNN, of the run. */
  pictures: string;
  model: string;
  run: string;
  /** Share of validation images that the CNN classifies right. */
  accuracy: number;
  evaluation: Evaluation;
  /** Path of the report. */
  report: string;
}

type Settled = DemoOptions & Record<'images' | 'size' | 'seed' | 'epochs' | 'cnnEpochs', number>;

/**
 * The whole method on data that the package makes: draws birds, trains a small CNN on them, exports it
 * to ONNX, explains that file and scores the parts. Throws what its steps throw.
 */
export async function runDemo(options: DemoOptions = {}): Promise<DemoResult> {
  const { signal, seed = 1, images = 2400, size = 2 * DEMO_SIDE } = options;
  if (!Number.isInteger(images) || images < 200) {
    throw expected('at least 200', 'images', images, { op: 'demo' });
  }
  if (!Number.isInteger(size) || size < 32 || size > 1024) {
    throw expected('32 to 1024', 'size', size, { op: 'demo' });
  }
  const epochs = options.epochs ?? passes(3, 12, images);
  const cnnEpochs = options.cnnEpochs ?? passes(12, 60, images);
  parseTrainOptions({ seed, epochs });
  const folder = resolve(options.out ?? 'partlens-demo');
  await prepareFolder(folder);
  return stoppable(signal, { op: 'demo', message: 'The demo was stopped.' }, () =>
    runIn(folder, { ...options, images, size, seed, epochs, cnnEpochs }),
  );
}

/** So many passes for 2400 images and more; of fewer images more passes, as many steps, up to `most`. */
function passes(usual: number, most: number, images: number): number {
  return Math.min(most, Math.max(usual, Math.round((usual * 2400) / images)));
}

/** Steps of the report. */
const REPORT = ['maps', 'pictures', 'contributions'];

/** Tells how far the whole is, from how far one phase is. */
function teller(
  onProgress: DemoOptions['onProgress'],
): (phase: keyof typeof PHASES, done: number, total: number, detail?: string) => void {
  const names = Object.keys(PHASES);
  const before = (phase: string): number =>
    Object.values(PHASES)
      .slice(0, names.indexOf(phase))
      .reduce((sum, share) => sum + share, 0);
  return (phase, done, total, detail = '') => {
    const share = Math.min(1, before(phase) + PHASES[phase] * (done / total));
    onProgress?.({ phase, share, detail });
  };
}

async function runIn(folder: string, options: Settled): Promise<DemoResult> {
  const { images, size, seed, epochs, cnnEpochs, signal } = options;
  const device = deviceOptions(options);
  const [pictures, model, run] = ['birds', 'bird_cnn.onnx', 'run'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  const masks = join(folder, 'masks');
  const tell = teller(options.onProgress);

  await writeBirds(pictures, {
    images,
    size,
    seed,
    masks,
    signal,
    onProgress: (done, total) => tell('drawing birds', done, total),
  });
  const { accuracy } = await trainCnn(model, {
    images: (await listImages(pictures)).images,
    classes: BIRD_CLASSES,
    seed,
    epochs: cnnEpochs,
    signal,
    onProgress: (done, total, loss) =>
      tell('training the CNN', done, total, `loss ${loss.toFixed(3)}`),
    ...device,
  });
  const performer = await loadPerformer(model, {
    layer: DEMO_LAYER,
    targets: DEMO_TARGETS,
    batch: 32,
    ...device,
  });
  try {
    const explainer = await trainExplainer({
      performer,
      images: pictures,
      out: run,
      seed,
      epochs,
      ...QUICK,
      signal,
      onProgress: (at) => {
        if (at.phase === 'features') tell('extracting features', at.done, at.total);
        else tell('training the explainer', at.step, at.steps, `p ${at.report.p.toFixed(3)}`);
      },
      ...device,
    });
    const landmarks = join(pictures, 'landmarks.csv');
    const { evaluation, path } = await writeReport(explainer, {
      landmarks,
      masks,
      baselines: ['kmeans', 'nmf'],
      signal,
      onProgress: ({ phase, done, total }) => {
        const step = REPORT.indexOf(phase);
        tell('writing the report', step + done / total, REPORT.length, phase);
      },
    }).finally(() => explainer.dispose());
    return { pictures, model, run, accuracy, evaluation, report: path };
  } finally {
    performer.dispose();
  }
}
