import { mkdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileError } from '../data/file_error.js';
import { loadBinding } from '../engine/binding.js';
import { PartlensError } from '../errors.js';

/**
 * Makes a run folder and keeps it to one training, by a lock of the operating system on `training.pid`: it
 * ends with the process, however that ends. What the file holds tells people who it is, nothing more.
 * Resolves with what gives the folder back. `lock` false: nobody is kept out. Throws `E_STATE` while another
 * training, of this process too, holds it, `E_FILE`.
 */
export async function holdRun(
  run: string,
  { lock = true }: { lock?: boolean | undefined } = {},
): Promise<() => Promise<void>> {
  await mkdir(run, { recursive: true }).catch((cause: unknown) => {
    throw fileError('write', run, cause);
  });
  if (!lock) return () => Promise.resolve();
  const path = join(run, 'training.pid');
  const release = locked(path);
  if (!release) throw await heldError(run, path);
  return () => {
    release();
    return Promise.resolve();
  };
}

function locked(path: string): (() => void) | undefined {
  try {
    return loadBinding().lockFile(path, `${String(process.pid)} on ${hostname()}\n`);
  } catch (cause) {
    if (!(cause instanceof PartlensError) || cause.details['refused'] !== 1) throw cause;
    throw new PartlensError(
      'E_FILE',
      `${cause.message}\nThis file system refuses locks, as some of a network do. If nothing else trains in ` +
        'this folder, go on with --no-lock (lock: false).',
      { op: 'train', details: { ...cause.details, path }, cause },
    );
  }
}

async function heldError(run: string, path: string): Promise<PartlensError> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const [, pid, host] = /^(\d+)(?: on ([\w.-]+))?/.exec(text) ?? [];
  const elsewhere = host === undefined || host === hostname() ? '' : ` on ${host}`;
  const who = pid === undefined ? 'Another process' : `Process ${pid}${elsewhere}`;
  return new PartlensError(
    'E_STATE',
    `${who} is training in ${run}.\nWait until it ends, or take another --out.`,
    { op: 'train', details: pid === undefined ? {} : { pid: Number(pid) } },
  );
}
