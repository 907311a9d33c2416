import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError, hasSystemCode } from '../data/file_error.js';
import { PartlensError } from '../errors.js';

/** A run folder as it was when a training began in it: the folder itself, not its name. */
export class RunPlace {
  readonly #run: string;
  readonly #identity: string;

  private constructor(run: string, identity: string) {
    this.#run = run;
    this.#identity = identity;
  }

  static async of(run: string): Promise<RunPlace> {
    return new RunPlace(run, await identityOf(run));
  }

  /** Throws `E_FILE` where the folder, or the run in it, was removed or replaced. */
  async check(): Promise<void> {
    const now = await identityOf(this.#run).catch(() => undefined);
    const whole = await stat(join(this.#run, 'config.json')).then(
      () => true,
      (error: unknown) => !hasSystemCode(error, 'ENOENT', 'ENOTDIR'),
    );
    if (now === this.#identity && whole) return;
    throw new PartlensError(
      'E_FILE',
      `${this.#run} was removed or replaced while it was trained in.`,
      { op: 'train', details: { path: this.#run } },
    );
  }
}

async function identityOf(run: string): Promise<string> {
  try {
    const { dev, ino } = await stat(run, { bigint: true });
    return `${String(dev)}-${String(ino)}`;
  } catch (cause) {
    throw fileError('read', run, cause);
  }
}
