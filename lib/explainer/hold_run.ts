import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isStale } from '../data/atomic.js';
import { fileError, hasSystemCode } from '../data/file_error.js';
import { PartlensError } from '../errors.js';
import { listCheckpoints } from './checkpoint.js';
import { trainOptions, type TrainOptions } from './options.js';

/**
 * Makes a run folder and keeps it to one training: `training.pid` tells whose. What a killed process
 * left is taken over. Resolves with what gives the folder back. Throws `E_STATE` while another training
 * holds it, `E_FILE`.
 */
export async function holdRun(run: string): Promise<() => Promise<void>> {
  const path = join(run, 'training.pid');
  await mkdir(run, { recursive: true }).catch((cause: unknown) => {
    throw fileError('write', run, cause);
  });
  for (;;) {
    try {
      await writeFile(path, String(process.pid), { flag: 'wx' });
      return () => rm(path, { force: true });
    } catch (cause) {
      if (!hasSystemCode(cause, 'EEXIST')) throw fileError('write', path, cause);
    }
    const pid = Number(await readFile(path, 'utf8').catch(() => ''));
    if (pid > 0 && !(await isStale(path, pid))) {
      throw new PartlensError(
        'E_STATE',
        `Process ${String(pid)} is training in ${run}.\n` +
          `Wait until it ends, or take another --out. (If it does not train, remove ${path}.)`,
        { op: 'train', details: { pid } },
      );
    }
    await rm(path, { force: true });
  }
}

export const OTHER_DATA = 'another model, layer, targets, preprocessing or photographs';

/** The error of a folder whose run is not the one to go on with. */
export function otherRun(run: string, what: string): PartlensError {
  return new PartlensError(
    'E_STATE',
    `${run} holds a run with ${what}.\nResume it as its config.json says, or take another --out.`,
    { op: 'train' },
  );
}

/** Throws `E_STATE` naming the options that a run does not have as they are given. */
export function refuseOtherOptions(run: string, known: TrainOptions, options: TrainOptions): void {
  const keys = Object.keys(trainOptions.shape) as (keyof TrainOptions)[];
  const told = (value: unknown): string =>
    value === undefined ? 'by default' : JSON.stringify(value);
  const other = keys
    .filter((key) => told(known[key]) !== told(options[key]))
    .map((key) => `${key} ${told(known[key])}, not ${told(options[key])}`);
  if (other.length > 0) throw otherRun(run, `other options: ${other.join('; ')}`);
}

/** Throws `E_STATE` where a run is that is not to be resumed. */
export async function refuseOtherRun(run: string, resume: boolean): Promise<void> {
  if (resume || (await listCheckpoints(run)).length === 0) return;
  throw new PartlensError(
    'E_STATE',
    `${run} holds a run already.\nUse --resume to go on with it, or another --out.`,
    { op: 'train' },
  );
}
