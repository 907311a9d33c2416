import { join, resolve } from 'node:path';
import { listImages } from '../data/images.js';
import { expected } from '../errors.js';
import type { Evaluation } from '../explainer/evaluate.js';
import { parseTrainOptions } from '../explainer/options.js';
import { stoppable } from '../explainer/stop.js';
import { trainExplainer } from '../explainer/train.js';
import { loadPerformer } from '../performer/index.js';
import { writeReport } from '../report/report.js';
import { deviceOptions, type DeviceOptions } from '../session.js';
import { BIRD_CLASSES, writeBirds } from './bird_images.js';
import { DEMO_LAYER, DEMO_SIDE, DEMO_TARGETS, trainCnn } from './cnn.js';
import { prepareFolder } from './folder.js';

/**
 * A few passes over clean pictures: smaller batches and a quicker decoder than photographs need. With
 * rho at its default of 3 all filters settle on one part of these birds (docs/results.md).
 */
const QUICK = { batch: 32, lr: 2e-3, lrScaleDecoder: 2, rho: 0.3 } as const;

/** One line of progress: what is going on, how much of it is done, 0..1. */
export interface DemoProgress {
  phase:
    | 'drawing birds'
    | 'training the CNN'
    | 'extracting features'
    | 'training the explainer'
    | 'writing the report';
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
  /** Passes of the CNN and of the explainer over the images. */
  cnnEpochs?: number;
  epochs?: number;
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

type Settled = DemoOptions & Required<Pick<DemoOptions, 'images' | 'size' | 'seed' | 'epochs'>>;

/**
 * The whole method on data that the package makes: draws birds, trains a small CNN on them, exports it
 * to ONNX, explains that file and scores the parts. Throws what its steps throw.
 */
export async function runDemo(options: DemoOptions = {}): Promise<DemoResult> {
  const { signal, seed = 1, epochs = 6 } = options;
  const { images = 2400, size = 2 * DEMO_SIDE } = options;
  if (!Number.isInteger(images) || images < 200) {
    throw expected('at least 200', 'images', images, { op: 'demo' });
  }
  if (!Number.isInteger(size) || size < 32 || size > 1024) {
    throw expected('32 to 1024', 'size', size, { op: 'demo' });
  }
  parseTrainOptions({ seed, epochs });
  const folder = resolve(options.out ?? 'partlens-demo');
  await prepareFolder(folder);
  return stoppable(signal, { op: 'demo', message: 'The demo was stopped.' }, () =>
    runIn(folder, { ...options, images, size, seed, epochs }),
  );
}

async function runIn(folder: string, options: Settled): Promise<DemoResult> {
  const { images, size, seed, epochs, cnnEpochs = 12, signal } = options;
  const device = deviceOptions(options);
  const [pictures, model, run] = ['birds', 'bird_cnn.onnx', 'run'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  const tell = (phase: DemoProgress['phase'], done: number, total: number, detail = ''): void =>
    options.onProgress?.({ phase, share: done / total, detail });

  await writeBirds(pictures, {
    images,
    size,
    seed,
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
      signal,
      onProgress: ({ phase, done, total }) => tell('writing the report', done, total, phase),
    }).finally(() => explainer.dispose());
    return { pictures, model, run, accuracy, evaluation, report: path };
  } finally {
    performer.dispose();
  }
}
