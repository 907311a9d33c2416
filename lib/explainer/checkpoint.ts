import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '../data/file_error.js';
import { readSafetensors, writeSafetensors } from '../data/safetensors.js';
import { PartlensError } from '../errors.js';
import { allFinite } from '../pace.js';
import type { TensorData, Shape } from '../engine/tensor.js';

/** What a checkpoint holds beside the tensors. */
export interface CheckpointHeader {
  /** Steps done. */
  step: number;
  /** Identifies run, options and data: a checkpoint of another run is refused. */
  fingerprint: string;
}

export interface Checkpoint extends CheckpointHeader {
  /** Parameters, optimizer state and running means by name, row-major. */
  tensors: Record<string, TensorData>;
}

const NAME = /^step-(\d+)\.safetensors$/;

/**
 * Writes `checkpoints/step-<n>.safetensors` atomically and removes all but the two newest. Throws
 * `E_STATE` when a value is not finite (nothing is written, older checkpoints stay), `E_FILE` on disk
 * errors.
 */
export async function saveCheckpoint(
  run: string,
  { step, fingerprint, tensors }: Checkpoint,
  shapes: ReadonlyMap<string, { shape: Shape }>,
): Promise<string> {
  for (const [name, data] of Object.entries(tensors)) {
    if (await allFinite(data)) continue;
    throw new PartlensError(
      'E_STATE',
      `Training stopped at step ${String(step)}: ${name} holds a value that is not finite. ` +
        'Checkpoints so far are kept; try a smaller --lr.',
      { op: 'train', details: { step, name } },
    );
  }
  const folder = join(run, 'checkpoints');
  await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw fileError('write', folder, cause);
  });
  const path = join(folder, `step-${String(step).padStart(8, '0')}.safetensors`);
  const entries = Object.entries(tensors).map(([name, data]) => [
    name,
    { shape: [...(shapes.get(name)?.shape ?? [data.length])], data },
  ]);
  await writeSafetensors(
    path,
    Object.fromEntries(entries) as Record<string, { shape: number[]; data: TensorData }>,
    { step: String(step), fingerprint },
  );
  for (const old of (await listCheckpoints(run)).slice(0, -2)) await rm(old.path, { force: true });
  return path;
}

/** Checkpoints of a run, oldest first. */
export async function listCheckpoints(run: string): Promise<{ step: number; path: string }[]> {
  const folder = join(run, 'checkpoints');
  const names = await readdir(folder).catch(() => [] as string[]);
  return names
    .flatMap((name) => {
      const step = NAME.exec(name)?.[1];
      return step === undefined ? [] : [{ step: Number(step), path: join(folder, name) }];
    })
    .sort((a, b) => a.step - b.step);
}

/**
 * The newest checkpoint of a run that can be read, or undefined; an unreadable one is passed over with
 * a warning. Throws `E_STATE` when it belongs to another run.
 */
export async function loadCheckpoint(
  run: string,
  fingerprint: string,
  onWarning: (text: string) => void = () => undefined,
): Promise<Checkpoint | undefined> {
  for (const { path, step } of (await listCheckpoints(run)).reverse()) {
    try {
      const { tensors, metadata } = await readSafetensors(path);
      if (metadata['fingerprint'] !== fingerprint) {
        throw new PartlensError('E_STATE', `${path} belongs to a run with other options or data.`);
      }
      const data = Object.entries(tensors).map(([name, tensor]) => [name, tensor.data] as const);
      return { step, fingerprint, tensors: Object.fromEntries(data) as Record<string, TensorData> };
    } catch (error) {
      if (!(error instanceof PartlensError) || error.code !== 'E_FILE') throw error;
      onWarning(`${path} cannot be read and is passed over: ${error.message}`);
    }
  }
  return undefined;
}
