import { randomBytes } from 'node:crypto';
import { open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PartlensError } from '../errors.js';
import { fileError } from './file_error.js';

const TEMPORARY = /^\.partlens-(\d+)-[0-9a-f]+\.tmp$/;
/** Linux transfers at most 2^31 - 4096 bytes a call. */
const CHUNK = 2 ** 30;

/**
 * A file written beside its final place, in the same folder, under a hidden temporary name. Nobody sees
 * it before `commit`, which brings it to disk and renames it over the old file; after any error, or
 * `discard`, no trace of it is left and the old file is as it was. All methods throw `E_FILE`.
 */
export class AtomicFile {
  readonly path: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;
  #open = true;

  private constructor(path: string, temporary: string, handle: FileHandle) {
    this.path = path;
    this.#temporary = temporary;
    this.#handle = handle;
  }

  /** Starts a file that will become `path`; its folder must exist. */
  static async create(path: string): Promise<AtomicFile> {
    const name = `.partlens-${String(process.pid)}-${randomBytes(8).toString('hex')}.tmp`;
    const temporary = join(dirname(path), name);
    try {
      return new AtomicFile(path, temporary, await open(temporary, 'wx+'));
    } catch (cause) {
      throw fileError('write', path, cause);
    }
  }

  /** Writes all bytes at `position`; they must not change before the promise resolves. */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    await this.#guard(async () => {
      for (let done = 0; done < bytes.length;) {
        const length = Math.min(CHUNK, bytes.length - done);
        done += (await this.#handle.write(bytes, done, length, position + done)).bytesWritten;
      }
    });
  }

  /** Moves `length` bytes towards the start of the file. */
  async moveDown(from: number, to: number, length: number): Promise<void> {
    const buffer = new Uint8Array(Math.min(length, 2 ** 22));
    for (let done = 0; done < length;) {
      const chunk = buffer.subarray(0, Math.min(buffer.length, length - done));
      await this.#guard(() => readFully(this.#handle, chunk, from + done, this.path));
      await this.write(chunk, to + done);
      done += chunk.length;
    }
  }

  /** Brings the first `length` bytes (default: all) to disk and puts the file in its place. */
  async commit(length?: number): Promise<void> {
    await this.#guard(async () => {
      if (length !== undefined) await this.#handle.truncate(length);
      await this.#handle.sync();
      await this.#handle.close();
      await rename(this.#temporary, this.path);
      this.#open = false;
    });
    await syncFolder(dirname(this.path));
  }

  /** Removes what was written. Safe to call at any time, also after `commit`. */
  async discard(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#handle.close().catch(() => undefined);
    await rm(this.#temporary, { force: true }).catch(() => undefined);
  }

  async #guard(work: () => Promise<void>): Promise<void> {
    if (!this.#open) {
      throw new PartlensError('E_STATE', `${this.path} is already written or given up.`);
    }
    try {
      await work();
    } catch (cause) {
      await this.discard();
      throw fileError('write', this.path, cause);
    }
  }
}

/** Replaces a file as a whole: afterwards it holds `data`, or after an error what it held before. */
export async function writeFileAtomic(path: string, data: Uint8Array): Promise<void> {
  const file = await AtomicFile.create(path);
  await file.write(data, 0);
  await file.commit();
}

/** `writeFileAtomic` for UTF-8 text. */
export async function writeTextAtomic(path: string, text: string): Promise<void> {
  await writeFileAtomic(path, new TextEncoder().encode(text));
}

/** `writeFileAtomic` for a value as indented JSON with a closing newline. */
export async function writeJsonAtomic(path: string, value: unknown): Promise<void> {
  await writeTextAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
}

/**
 * Removes temporary files that killed processes left in a folder; those of living processes stay. A
 * folder that is not there is no error.
 */
export async function removeTemporaries(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => [] as string[]);
  for (const name of names) {
    const pid = TEMPORARY.exec(name)?.[1];
    if (pid === undefined) continue;
    const path = join(folder, name);
    if (await isStale(path, Number(pid))) await rm(path, { force: true }).catch(() => undefined);
  }
}

/** Fills `into` from `position` on. Throws `E_FILE` when the file ends before. */
export async function readFully(
  handle: FileHandle,
  into: Uint8Array,
  position: number,
  path: string,
): Promise<void> {
  for (let done = 0; done < into.length;) {
    const length = Math.min(CHUNK, into.length - done);
    const { bytesRead } = await handle.read(into, done, length, position + done);
    if (bytesRead === 0) {
      const end = String(position + into.length);
      throw new PartlensError(
        'E_FILE',
        `${path} is truncated: it ends at byte ${String(position + done)}, before byte ${end}.`,
        { details: { path } },
      );
    }
    done += bytesRead;
  }
}

/**
 * True where the process that left a file has ended. A file of this process's number may come from an
 * earlier process with the same number.
 */
export async function isStale(path: string, pid: number): Promise<boolean> {
  if (pid === process.pid) {
    const started = Date.now() - process.uptime() * 1000;
    return stat(path).then(
      ({ mtimeMs }) => mtimeMs < started - 1000,
      () => false,
    );
  }
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** Makes a rename survive a power cut; not every file system can. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    await handle.sync().finally(() => handle.close());
  } catch {
    // the file itself is whole either way
  }
}
