import { open, readFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { readFully, writeTextAtomic } from '../data/atomic.js';
import { fileError } from '../data/file_error.js';
import type { StepReport } from './trainer.js';

/** `metrics.jsonl` of a run: one JSON object for each logged step. Throws `E_FILE` on disk errors. */
export class MetricsLog {
  readonly #path: string;
  readonly #file: FileHandle;
  /** Lines that could not be written; none follow them into the file. */
  readonly #unwritten: string[] = [];

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** Opens the log to go on at step `from`; lines of later steps are dropped. */
  static async open(run: string, from: number): Promise<MetricsLog> {
    const path = join(run, 'metrics.jsonl');
    const kept = (await readMetrics(run)).filter(({ step }) => step < from);
    await writeTextAtomic(path, kept.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const file = await open(path, 'a+').catch((cause: unknown) => {
      throw fileError('write', path, cause);
    });
    return new MetricsLog(path, file);
  }

  async write(report: StepReport): Promise<void> {
    const line = `${JSON.stringify(report)}\n`;
    if (this.#unwritten.length > 0) {
      this.#unwritten.push(line);
      return;
    }
    try {
      await this.#file.appendFile(line);
    } catch (cause) {
      this.#unwritten.push(line);
      throw fileError('write', this.#path, cause);
    }
  }

  /** All lines, of a file too that was removed meanwhile, with those that could not be written. */
  async contents(): Promise<string> {
    const { size } = await this.#file.stat().catch(() => ({ size: 0 }));
    const bytes = new Uint8Array(size);
    await readFully(this.#file, bytes, 0, this.#path).catch(() => undefined);
    const whole = new TextDecoder().decode(bytes);
    return whole.slice(0, whole.lastIndexOf('\n') + 1) + this.#unwritten.join('');
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
