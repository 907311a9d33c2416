import { open, readFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { writeTextAtomic } from '../data/atomic.js';
import { fileError } from '../data/file_error.js';
import type { StepReport } from './trainer.js';

/** `metrics.jsonl` of a run: one JSON object for each logged step. Throws `E_FILE` on disk errors. */
export class MetricsLog {
  readonly #path: string;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** Opens the log to go on at step `from`; lines of later steps are dropped. */
  static async open(run: string, from: number): Promise<MetricsLog> {
    const path = join(run, 'metrics.jsonl');
    const kept = (await readMetrics(run)).filter(({ step }) => step < from);
    await writeTextAtomic(path, kept.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const file = await open(path, 'a').catch((cause: unknown) => {
      throw fileError('write', path, cause);
    });
    return new MetricsLog(path, file);
  }

  async write(report: StepReport): Promise<void> {
    try {
      await this.#file.appendFile(`${JSON.stringify(report)}\n`);
    } catch (cause) {
      throw fileError('write', this.#path, cause);
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

/** The logged steps of a run, oldest first; torn lines are passed over. */
export async function readMetrics(run: string): Promise<StepReport[]> {
  const text = await readFile(join(run, 'metrics.jsonl'), 'utf8').catch(() => '');
  return text.split('\n').flatMap((line) => {
    if (line === '') return [];
    try {
      const report = JSON.parse(line) as StepReport | null;
      return typeof report?.step === 'number' ? [report] : [];
    } catch {
      return [];
    }
  });
}
