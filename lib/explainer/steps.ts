import { PartlensError } from '../errors.js';
import { batches, type BatchOptions } from './batches.js';
import { saveCheckpoint } from './checkpoint.js';
import { MetricsLog } from './metrics_log.js';
import { RunPlace } from './run_place.js';
import { rescuedError } from './rescue.js';
import type { RunConfig } from './run_folder.js';
import { stoppedError } from './stop.js';
import type { StepReport, Trainer } from './trainer.js';
import type { Watcher } from './watch.js';

/** Where a run is. */
export type TrainProgress =
  | {
      phase: 'features';
      /** Photographs. */
      done: number;
      total: number;
      /** By the speed so far. */
      secondsLeft?: number;
    }
  | {
      phase: 'train';
      /** Steps done. */
      step: number;
      steps: number;
      imagesPerSecond: number;
      secondsLeft: number;
      report: StepReport;
    };

/** How often the run folder is looked at where nothing is written, milliseconds. */
const LOOK_EVERY = 60_000;

export interface StepsOptions {
  trainer: Trainer;
  reading: BatchOptions;
  /** Steps done before. */
  from: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: TrainProgress) => void) | undefined;
  watcher: Watcher | undefined;
}

/**
 * Takes the steps of a run with its log and its checkpoints. Throws `E_STATE` when the signal stops it, `E_FILE`
 * when the folder cannot be written to or is no longer there: the state is kept elsewhere then, if it can be.
 */
export async function trainSteps(
  run: string,
  config: RunConfig,
  { trainer, reading, from, signal, onProgress, watcher }: StepsOptions,
): Promise<void> {
  const { options, steps } = config;
  const files = await RunFiles.open(run, config, trainer, from);
  const started = performance.now();
  const isKept = (step: number): boolean => step % options.checkpointEvery === 0 || step === steps;
  const pause = (step: number): boolean =>
    isKept(step) || signal?.aborted === true || files.isLost || watcher?.isDue(step) === true;
  let step = from;
  try {
    for await (const { report, settled } of takeSteps(trainer, reading, { from, steps, pause })) {
      step++;
      const isLogged = step % options.logEvery === 0 || step === steps || step === 1;
      await files.note(isLogged ? report : undefined);
      const seconds = (performance.now() - started) / 1000;
      onProgress?.({
        phase: 'train',
        step,
        steps,
        imagesPerSecond: ((step - from) * config.batch) / seconds,
        secondsLeft: (seconds / (step - from)) * (steps - step),
        report,
      });
      if (!settled) continue;
      await watcher?.look(step);
      const stops = signal?.aborted === true && step < steps;
      if (stops || isKept(step) || files.isLost) await files.save(step);
      if (stops) {
        throw stoppedError(
          `Training was stopped at step ${String(step)} of ${String(steps)}; a checkpoint is kept.\n` +
            'Go on with --resume.',
          { op: 'train', step },
        );
      }
    }
  } finally {
    await files.close();
  }
}

/** What the steps write into the run folder; remembers that it could not be, until the state can be saved. */
class RunFiles {
  readonly #run: string;
  readonly #config: RunConfig;
  readonly #trainer: Trainer;
  readonly #place: RunPlace;
  readonly #log: MetricsLog;
  #looked = performance.now();
  #lost: PartlensError | undefined;

  private constructor(
    run: string,
    config: RunConfig,
    trainer: Trainer,
    files: { place: RunPlace; log: MetricsLog },
  ) {
    this.#run = run;
    this.#config = config;
    this.#trainer = trainer;
    this.#place = files.place;
    this.#log = files.log;
  }

  static async open(
    run: string,
    config: RunConfig,
    trainer: Trainer,
    from: number,
  ): Promise<RunFiles> {
    const place = await RunPlace.of(run);
    return new RunFiles(run, config, trainer, { place, log: await MetricsLog.open(run, from) });
  }

  /** True when something could not be written: the next state is to be saved elsewhere. */
  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** Logs a step, if it is to be, and looks after the folder. */
  async note(report: StepReport | undefined): Promise<void> {
    if (report) await this.#attempt(() => this.#log.write(report));
    const now = performance.now();
    if (!report && now - this.#looked < LOOK_EVERY) return;
    this.#looked = now;
    await this.#attempt(() => this.#place.check());
  }

  /** Keeps a checkpoint of what the trainer holds; no step may be under way. */
  async save(step: number): Promise<void> {
    const checkpoint = {
      step,
      fingerprint: this.#config.fingerprint,
      tensors: await this.#trainer.state(),
    };
    const shapes = this.#trainer.session.persistent();
    await this.#attempt(async () => {
      await this.#place.check();
      await saveCheckpoint(this.#run, checkpoint, shapes);
    });
    if (!this.#lost) return;
    const metrics = await this.#log.contents();
    throw await rescuedError(this.#lost, this.#run, {
      config: this.#config,
      ...{ checkpoint, shapes, metrics },
    });
  }

  async close(): Promise<void> {
    await this.#log.close();
  }

  /** Does what may fail because of the disk. */
  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof PartlensError) || error.code !== 'E_FILE') throw error;
      this.#lost ??= error;
    }
  }
}

/**
 * Takes the steps in order. Each is sent before the last one's report is awaited, so that reading and
 * copying the next batch overlap the step; where `pause` asks for it none is under way (`settled`), so
 * that the state of that step can be read.
 */
async function* takeSteps(
  trainer: Trainer,
  reading: BatchOptions,
  { from, steps, pause }: { from: number; steps: number; pause: (step: number) => boolean },
): AsyncGenerator<{ report: StepReport; settled: boolean }> {
  let last: Promise<StepReport> | undefined;
  let step = from;
  for await (const batch of batches(reading, from, steps)) {
    const next = trainer.step(batch, step++);
    next.catch(() => undefined); // it is awaited below, perhaps after the last one has failed
    if (last) yield { report: await last, settled: false };
    last = next;
    if (pause(step)) {
      yield { report: await last, settled: true };
      last = undefined;
    }
  }
}
