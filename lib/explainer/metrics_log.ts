import { open, readFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { readFully, writeTextAtomic } from '../data/atomic.js';
import { fileError, hasSystemCode } from '../data/file_error.js';
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

/** The logged steps of a run, oldest first; torn lines, and lines of another form, are passed over. */
export async function readMetrics(run: string): Promise<StepReport[]> {
  const path = join(run, 'metrics.jsonl');
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    if (hasSystemCode(cause, 'ENOENT', 'ENOTDIR')) return '';
    throw fileError('read', path, cause);
  });
  return text.split('\n').flatMap((line) => {
    if (line === '') return [];
    try {
      const value: unknown = JSON.parse(line);
      return isReport(value) ? [value] : [];
    } catch {
      return [];
    }
  });
}

const NUMBERS = ['loss', 'contribution', 'p', 'learningRate'] as const;
const LISTS = ['rec', 'filter', 'overlap', 'lambda'] as const;

/** Every field of a step; JSON has no NaN, so null stands for it. */
function isReport(value: unknown): value is StepReport {
  if (typeof value !== 'object' || value === null) return false;
  const report = value as Record<string, unknown>;
  const { step, kl } = report;
  return (
    typeof step === 'number' &&
    Number.isSafeInteger(step) &&
    step >= 0 &&
    NUMBERS.every((name) => isNumber(report[name])) &&
    LISTS.every((name) => isNumbers(report[name])) &&
    (kl === undefined || isNumber(kl))
  );
}

function isNumber(value: unknown): boolean {
  return typeof value === 'number' || value === null;
}

function isNumbers(value: unknown): boolean {
  return Array.isArray(value) && value.every(isNumber);
}
