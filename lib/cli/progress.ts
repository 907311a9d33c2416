import type { TrainProgress } from '../explainer/train.js';
import { printError, terminalText } from './terminal.js';

/** One line on stderr that is written over; on anything but a terminal nothing at all. */
export class ProgressLine {
  readonly #stream: NodeJS.WriteStream;
  #shown = 0;
  #last = 0;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
  }

  /** Shows a text, at most ten times a second. */
  show(text: string): void {
    const now = performance.now();
    if (!this.#stream.isTTY || now - this.#last < 100) return;
    this.#last = now;
    const cut = terminalText(text)
      .replaceAll('\n', ' ')
      .slice(0, Math.max(1, this.#stream.columns - 1));
    this.#stream.write(`\r${cut.padEnd(this.#shown)}`);
    this.#shown = cut.length;
  }

  /** Removes the line, so that other text can follow. */
  clear(): void {
    if (this.#shown > 0) this.#stream.write(`\r${' '.repeat(this.#shown)}\r`);
    this.#shown = 0;
    this.#last = 0;
  }

  /** Writes a line that stays, above the progress. */
  note(text: string): void {
    this.clear();
    printError(text, this.#stream);
  }
}

/**
 * `step 120/900  410 images/s  rec 0.41 0.22  filter -0.013 -1.2  overlap 0.031 0.12  contribution 0.21
 * p 0.52  1:20 left`, on one line.
 */
export function showTraining(progress: TrainProgress): string {
  if (progress.phase === 'features') {
    return `features ${String(progress.done)}/${String(progress.total)} images`;
  }
  const { step, steps, imagesPerSecond, secondsLeft, report } = progress;
  const list = (values: readonly number[]): string => values.map((v) => v.toPrecision(3)).join(' ');
  const listed = (name: 'filter' | 'overlap'): string[] =>
    report[name].length > 0 ? [`${name} ${list(report[name])}`] : [];
  return [
    `step ${String(step)}/${String(steps)}`,
    `${imagesPerSecond.toFixed(0)} images/s`,
    `rec ${list(report.rec)}`,
    ...listed('filter'),
    ...listed('overlap'),
    `contribution ${report.contribution.toPrecision(3)}`,
    `p ${report.p.toFixed(3)}`,
    `${clock(secondsLeft)} left`,
  ].join('  ');
}

/** `1:05`, `2:03:20`. */
export function clock(seconds: number): string {
  const total = Math.max(0, Math.round(seconds));
  const two = (value: number): string => String(value).padStart(2, '0');
  const [h, m, s] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  return h > 0 ? `${String(h)}:${two(m)}:${two(s)}` : `${String(m)}:${two(s)}`;
}
