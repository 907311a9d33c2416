import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';

/** Gives each test of a suite an empty folder of its own, removed afterwards. */
export function temporaryFolder(): () => string {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'partlens-test-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  return () => folder;
}

/**
 * Makes `folder` a file system of so many KiB, or, where mounting is not allowed, lets the first write
 * beyond them fail with ENOSPC. Call the result to undo it.
 */
export async function smallDisk(folder: string, kibibytes: number): Promise<() => void> {
  const size = `size=${String(kibibytes)}k`;
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', size, 'tmpfs', folder], { stdio: 'ignore' });
    return () => execFileSync('umount', [folder]);
  } catch {
    return failWrite(kibibytes * 1024);
  }
}

async function failWrite(bytes: number): Promise<() => void> {
  const handle = await open('/dev/null', 'r');
  const prototype = Object.getPrototypeOf(handle) as { write: (...args: unknown[]) => unknown };
  await handle.close();
  const { write } = prototype;
  let left = bytes;
  prototype.write = function (this: unknown, ...args: unknown[]) {
    left -= args[2] as number;
    if (left >= 0) return write.apply(this, args);
    left = Infinity;
    const text = 'ENOSPC: no space left on device, write';
    return Promise.reject(Object.assign(new Error(text), { code: 'ENOSPC' }));
  };
  return () => {
    prototype.write = write;
  };
}

/** Resolves with the error that a promise is rejected with. */
export async function failureOf(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  return promise.then(
    () => {
      throw new Error('expected a failure');
    },
    (error: unknown) => error as Error & { code?: string },
  );
}

/** Names in a folder, sorted. */
export async function names(folder: string): Promise<string[]> {
  return (await readdir(folder)).sort();
}
