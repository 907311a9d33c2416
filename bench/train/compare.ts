import { join } from 'node:path';
import { SafetensorsWriter } from '../../lib/data/index.js';
import type { Batch } from '../../lib/explainer/trainer.js';
import { Ours, type Losses, type OursOptions } from './ours.js';
import type { Peer } from './peer.js';
import { drawBatch, type Setting } from './settings.js';

/** Largest accepted difference of a loss (relative) and of a gradient (of its norm). */
export const AGREE = 1e-3;

export interface Start {
  batch: Batch;
  weights: Record<string, Float32Array>;
  /** Weights, features and targets for a peer. */
  tensors: string;
  /** Gradients of the first step. */
  gradients: string;
  losses: Losses;
}

type Tensors = Record<string, { shape: readonly number[]; data: Float32Array }>;

async function save(path: string, tensors: Tensors): Promise<string> {
  const types = Object.entries(tensors).map(
    ([name, { shape }]) => [name, { dtype: 'F32' as const, shape }] as const,
  );
  const writer = await SafetensorsWriter.create(path, Object.fromEntries(types));
  for (const [name, { data }] of Object.entries(tensors)) await writer.write(name, 0, data);
  await writer.finish();
  return path;
}

/** Draws weights and a batch, runs the first step and keeps all in a folder. */
export async function drawStart(
  setting: Setting,
  folder: string,
  options: OursOptions,
): Promise<Start> {
  const batch = drawBatch(setting, 1);
  const ours = await Ours.create(setting, batch, { ...options, traced: true });
  try {
    const weights = await ours.drawWeights();
    const shapes = ours.session.persistent(['parameter']);
    const withShapes = (arrays: Record<string, Float32Array>): Tensors =>
      Object.fromEntries(
        Object.entries(arrays).map(([name, data]) => [
          name,
          { shape: shapes.get(name)?.shape ?? [], data },
        ]),
      );
    const { channels, height, width } = setting.spec;
    const given: Tensors = {
      ...withShapes(weights),
      features: { shape: [setting.batch, channels, height, width], data: batch.features },
    };
    batch.targets.forEach((data, l) => {
      const shape = [setting.batch, data.length / setting.batch];
      given[`target_${String(l + 1)}`] = { shape, data };
    });
    const tensors = await save(join(folder, 'tensors.safetensors'), given);
    await ours.start(weights);
    const traced = await ours.trace();
    const found = withShapes(traced.gradients);
    const gradients = await save(join(folder, 'gradients.safetensors'), found);
    return { batch, weights, tensors, gradients, losses: traced.losses };
  } finally {
    ours.dispose();
  }
}

/** Largest differences of the first step; where it is. */
export interface Agreement {
  loss: number;
  gradient: number;
  worst: string;
}

/** Runs the peer's first step. Throws where a loss or gradient differs by more than AGREE. */
export async function checkPeer(peer: Peer, variant: string, start: Start): Promise<Agreement> {
  await peer.ask(`start ${variant}`);
  const { losses } = await peer.ask<{ losses: Losses }>('step 1');
  const ofLosses = Object.entries(losses).map(([name, theirs]) => {
    const ours = start.losses[name] ?? NaN;
    return [name, Math.abs(ours - theirs) / Math.max(Math.abs(theirs), 1e-6)] as const;
  });
  const ofGradients = Object.entries(
    await peer.ask<Record<string, number>>(`compare ${start.gradients}`),
  );
  const [loss, gradient] = [largest(ofLosses), largest(ofGradients)];
  for (const [name, error] of [loss, gradient]) {
    if (error <= AGREE) continue;
    throw new Error(`${variant} and ours differ by ${error.toExponential(1)} in ${name}`);
  }
  return { loss: loss[1], gradient: gradient[1], worst: gradient[0] };
}

function largest(errors: readonly (readonly [string, number])[]): readonly [string, number] {
  return errors.reduce((worst, next) => (next[1] <= worst[1] ? worst : next), ['nothing', 0]);
}
