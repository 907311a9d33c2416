import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { fileError, hasSystemCode } from '../data/file_error.js';
import {
  readSafetensors,
  writeSafetensors,
  type StoredTensor,
  type TensorToStore,
} from '../data/safetensors.js';
import { checksum, notFinite } from '../data/sound.js';
import { fingerprint as fingerprintOf } from '../data/fingerprint.js';
import { PartlensError } from '../errors.js';
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

/** The tensors that a network needs, by name. */
export type NetworkTensors = ReadonlyMap<string, { shape: Shape; dtype: 'f32' | 'i32' }>;

const NAME = /^step-(\d+)\.safetensors$/;

/**
 * Writes `checkpoints/step-<n>.safetensors` atomically, with a checksum of each tensor, and removes all but
 * the two newest up to this step. Throws `E_STATE` when a value is not finite (nothing is written, older
 * checkpoints stay), `E_FILE` on disk errors.
 */
export async function saveCheckpoint(
  run: string,
  { step, fingerprint, tensors }: Checkpoint,
  shapes: ReadonlyMap<string, { shape: Shape }>,
): Promise<string> {
  const stored: Record<string, TensorToStore> = {};
  for (const [name, data] of Object.entries(tensors)) {
    stored[name] = { shape: [...(shapes.get(name)?.shape ?? [data.length])], data };
    if ((await notFinite(data)) === undefined) continue;
    throw new PartlensError(
      'E_STATE',
      `Training stopped at step ${String(step)}: ${name} holds a value that is not finite. ` +
        'Checkpoints so far are kept; try a smaller --lr.',
      { op: 'train', details: { step, name } },
    );
  }
  const folder = join(run, 'checkpoints');
  // Not its parents: a run folder that was removed is not made anew.
  await mkdir(folder).catch((cause: unknown) => {
    if (hasSystemCode(cause, 'EEXIST')) return;
    throw fileError('write', folder, cause);
  });
  const path = join(folder, `step-${String(step).padStart(8, '0')}.safetensors`);
  const checksums = await checksumsOf(stored);
  const header = { step: String(step), fingerprint, checksums: JSON.stringify(checksums) };
  await writeSafetensors(path, stored, { ...header, header: fingerprintOf(header) });
  const before = (await listCheckpoints(run)).filter((other) => other.step <= step);
  for (const old of before.slice(0, -2)) await rm(old.path, { force: true });
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
 * The newest sound checkpoint of a run that holds what the network needs, or undefined; a damaged one is
 * passed over with a warning. Throws `E_STATE` when it belongs to another run.
 */
export async function loadCheckpoint(
  run: string,
  fingerprint: string,
  {
    needed,
    onWarning,
  }: { needed: NetworkTensors; onWarning?: ((text: string) => void) | undefined },
): Promise<Checkpoint | undefined> {
  for (const { path, step } of (await listCheckpoints(run)).reverse()) {
    try {
      const { tensors, metadata } = await readSafetensors(path);
      await checkSound(path, { step, tensors, metadata });
      if (metadata['fingerprint'] !== fingerprint) {
        throw new PartlensError('E_STATE', `${path} belongs to a run with other options or data.`);
      }
      checkNeeded(path, tensors, needed);
      const data = Object.entries(tensors).map(([name, tensor]) => [name, tensor.data] as const);
      return { step, fingerprint, tensors: Object.fromEntries(data) as Record<string, TensorData> };
    } catch (error) {
      if (!(error instanceof PartlensError) || error.code !== 'E_FILE') throw error;
      onWarning?.(`${path} cannot be used and is passed over: ${error.message}`);
    }
  }
  return undefined;
}

/** SHA-256 of each tensor with its name, type and shape. */
async function checksumsOf(
  tensors: Readonly<Record<string, TensorToStore>>,
): Promise<Record<string, string>> {
  const sums: Record<string, string> = {};
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    sums[name] = await checksum(JSON.stringify([name, data.constructor.name, shape]), data);
  }
  return sums;
}

/** Throws `E_FILE` for a header, a tensor or a value that is not what was written. */
async function checkSound(
  path: string,
  file: { step: number; tensors: Record<string, StoredTensor>; metadata: Record<string, string> },
): Promise<void> {
  const { header, ...rest } = file.metadata;
  // Checkpoints of 0.1.0 carry no checksums.
  if (header !== undefined || rest['checksums'] !== undefined) {
    if (header !== fingerprintOf(rest)) throw damaged(path, 'its header is not as it was written');
    if (Number(rest['step']) !== file.step)
      throw damaged(path, `it is of step ${String(rest['step'])}`);
    const written = parseSums(path, rest['checksums']);
    const found = await checksumsOf(file.tensors);
    const names = [...new Set([...Object.keys(written), ...Object.keys(found)])];
    const bad = names.find((name) => written[name] !== found[name]);
    if (bad !== undefined) {
      const what = found[bad] === undefined ? `it lacks ${bad}` : `${bad} is not as it was written`;
      throw damaged(path, what);
    }
  }
  for (const [name, { data }] of Object.entries(file.tensors)) {
    const value = await notFinite(data);
    if (value !== undefined) throw damaged(path, `${name} holds ${value}`);
  }
}

function parseSums(path: string, text: string | undefined): Record<string, string> {
  try {
    return z.record(z.string(), z.string()).parse(JSON.parse(text ?? ''));
  } catch {
    throw damaged(path, 'its checksums cannot be read');
  }
}

/** Throws `E_FILE` where a tensor of the network is missing or of another type or shape. */
function checkNeeded(
  path: string,
  tensors: Readonly<Record<string, StoredTensor>>,
  needed: NetworkTensors,
): void {
  for (const [name, { shape, dtype }] of needed) {
    const found = tensors[name];
    if (!found) throw damaged(path, `it lacks ${name}`);
    const type = dtype === 'f32' ? 'F32' : 'I32';
    if (found.dtype === type && found.shape.join() === shape.join()) continue;
    const [is, wanted] = [found.shape, shape].map((sides) => `(${sides.join(', ')})`);
    throw damaged(path, `${name} is ${found.dtype} ${is ?? ''}, not ${type} ${wanted ?? ''}`);
  }
}

function damaged(path: string, what: string): PartlensError {
  return new PartlensError('E_FILE', `The checkpoint is damaged: ${what}.`, { details: { path } });
}
