import type { NetworkSpec } from '../../lib/explainer/network_spec.js';
import {
  trainOptions,
  type TrainOptions,
  type TrainOptionsInput,
} from '../../lib/explainer/options.js';
import { Trainer, type Batch, type StepReport } from '../../lib/explainer/trainer.js';
import { Random } from '../../lib/random.js';

/** More filters than channels, pooling, two targets. */
export const SPEC: NetworkSpec = {
  channels: 6,
  height: 8,
  width: 8,
  filters: 10,
  pool: { kernel: 2 },
  site: undefined,
  targets: [
    { name: 'fc1', shape: [12], size: 12, relu: true },
    { name: 'fc2', shape: [9], size: 9, relu: true },
  ],
  featureScale: 0.7,
};
export const BATCH = 8;
export const STEPS = 20;
export const POWER = [1.3, 0.8];

export const optionsOf = (given: TrainOptionsInput = {}): TrainOptions => trainOptions.parse(given);

/** Features and targets as a ReLU leaves them. */
export function batchOf(step: number, spec = SPEC): Batch {
  const random = new Random(5, `batch/${String(step)}`);
  const positive = (length: number, shift: number): Float32Array =>
    Float32Array.from({ length }, () => Math.max(random.normal() + shift, 0));
  return {
    features: positive(BATCH * spec.channels * spec.height * spec.width, 0.2),
    targets: spec.targets.map(({ size }, l) => positive(BATCH * size, 0.5 * l)),
    bypass: [],
    output: undefined,
  };
}

/** A trainer with initial weights, calibrated on batch 0; the caller disposes it. */
export async function trainerOf(given: TrainOptionsInput = {}, spec = SPEC): Promise<Trainer> {
  const trainer = await Trainer.create({
    spec,
    options: optionsOf(given),
    batch: BATCH,
    steps: STEPS,
    targetPower: spec.targets.map((_, l) => POWER[l] ?? 1),
    backend: 'cpu',
    threads: 1,
  });
  await trainer.initialise([batchOf(0, spec)]);
  return trainer;
}

/** Takes steps on batches of their own, then gives the trainer to `use`, and disposes it. */
export async function trained<T>(
  given: TrainOptionsInput,
  use: (trainer: Trainer, reports: StepReport[]) => Promise<T> | T,
  { steps = STEPS, spec = SPEC } = {},
): Promise<T> {
  const trainer = await trainerOf(given, spec);
  try {
    const reports: StepReport[] = [];
    for (let step = 0; step < steps; step++) {
      reports.push(await trainer.step(batchOf(step, spec), step));
    }
    return await use(trainer, reports);
  } finally {
    trainer.dispose();
  }
}
