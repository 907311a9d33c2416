import type { TrainProgress } from '../explainer/train.js';
import { printError, terminalText } from './terminal.js';

/** Milliseconds between lines where the stream is no terminal. */
const LINE_EVERY = 10_000;

/**
 * One line on stderr that is written over. On anything but a terminal, a log file say, a line of its own every
 * ten seconds. A terminal that does not tell its width (0 columns) gets whole texts.
 */
export class ProgressLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #now: () => number;
  #shown = 0;
  #last: number;

  constructor(stream: NodeJS.WriteStream = process.stderr, now = () => performance.now()) {
    this.#stream = stream;
    this.#now = now;
    this.#last = stream.isTTY ? -Infinity : now();
  }

  /** Shows a text, at most ten times a second. */
  show(text: string): void {
    const { isTTY, columns } = this.#stream;
    const now = this.#now();
    if (now - this.#last < (isTTY ? 100 : LINE_EVERY)) return;
    this.#last = now;
    const line = terminalText(text).replaceAll('\n', ' ');
    if (!isTTY) {
      this.#stream.write(`${line}\n`);
      return;
    }
    const cut = columns > 1 ? line.slice(0, columns - 1) : line;
    this.#stream.write(`\r${cut.padEnd(this.#shown)}`);
    this.#shown = cut.length;
  }

  /** Removes the line, so that other text can follow. */
  clear(): void {
    if (this.#shown > 0) this.#stream.write(`\r${' '.repeat(this.#shown)}\r`);
    if (this.#stream.isTTY) this.#last = -Infinity;
    this.#shown = 0;
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
    const { done, total, secondsLeft } = progress;
    const left = secondsLeft === undefined ? '' : `  ${clock(secondsLeft)} left`;
    return `features ${String(done)}/${String(total)} images${left}`;
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
