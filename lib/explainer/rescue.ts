import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeTextAtomic } from '../data/atomic.js';
import { fileError } from '../data/file_error.js';
import { PartlensError } from '../errors.js';
import type { Shape } from '../engine/tensor.js';
import { listCheckpoints, saveCheckpoint, type Checkpoint } from './checkpoint.js';
import { writeRunConfig, type RunConfig } from './run_folder.js';

/** All that a run needs to go on elsewhere; its features are extracted again. */
export interface RunState {
  config: RunConfig;
  checkpoint: Checkpoint;
  shapes: ReadonlyMap<string, { shape: Shape }>;
  /** Text of `metrics.jsonl`. */
  metrics: string;
}

/**
 * Keeps the state of a run whose folder cannot be written to any more in a new folder: beside it, or among
 * temporary files. Resolves with the error that says why, and where the state is or that it is gone.
 */
export async function rescuedError(
  lost: PartlensError,
  run: string,
  state: RunState,
): Promise<PartlensError> {
  const step = String(state.checkpoint.step);
  const told = (text: string, details: Record<string, unknown>): PartlensError =>
    new PartlensError('E_FILE', `${lost.message}\n${text}`, {
      details: { ...lost.details, ...details, step: state.checkpoint.step },
      cause: lost,
    });
  const reasons: string[] = [];
  for (const stem of [`${run}-rescued-`, join(tmpdir(), 'partlens-rescued-')]) {
    try {
      const rescued = await keep(stem, state);
      const text = `The state of step ${step} is kept in ${rescued}.\nGo on with --resume --out ${rescued}.`;
      return told(text, { rescued });
    } catch (error) {
      reasons.push(fileError('write', stem, error).message);
    }
  }
  const older = (await listCheckpoints(run)).at(-1);
  const left = older
    ? `The last checkpoint that is left is ${older.path}.`
    : 'No checkpoint of this run is left.';
  return told(`The state of step ${step} is lost: ${reasons.join(' ')}\n${left}`, {});
}

async function keep(stem: string, state: RunState): Promise<string> {
  const folder = await mkdtemp(stem);
  try {
    await saveCheckpoint(folder, state.checkpoint, state.shapes);
    await writeTextAtomic(join(folder, 'metrics.jsonl'), state.metrics);
    await writeRunConfig(folder, state.config);
    return folder;
  } catch (error) {
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
    throw error;
  }
}
