import { expected } from '../../errors.js';
import { firstClass } from '../../performer/index.js';

export { firstClass };

/** What the performer's head says to rebuilt features, beside what it says to its own. */
export interface HeadScores {
  /** Share of images with the same first class, 0..1; NaN for an output of one number. */
  agreement: number;
  /** Of an output of one number: Pearson's correlation of both over images. */
  correlation: number | undefined;
  /** Share of labelled images with a wrong first class; undefined without labels. */
  performerError: number | undefined;
  explainerError: number | undefined;
  /** Mean over images of KL(performer || explainer), nats; NaN for an output of one number. */
  kl: number;
  /** Mean over images and outputs of |performer - explainer|; NaN for probabilities. */
  mae: number;
  /** Mean over images of half the sum over classes of |p_k - q_k|, 0..1; NaN for an output of one number. */
  halfL1: number;
  images: number;
  /** Images with a label. */
  labelled: number;
}

export interface HeadOptions {
  classes: number;
  /** `logits` (default): before the softmax; `probabilities`: behind it. */
  kind?: 'logits' | 'probabilities';
}

/** Smallest probability that counts as one: the smallest normal 32-bit float. */
const TINY = 2 ** -126;

/**
 * Compares the performer's own output with its output on rebuilt features, batch by batch. The first
 * class is the one with the largest output, of equals the first.
 *
 *   kl = mean over images of sum_k p_k log(p_k / q_k),  p performer, q explainer
 *   mae = mean over images and k of |z_k - z'_k|,  logits
 *   halfL1 = mean over images of sum_k |p_k - q_k| / 2: the total variation distance
 */
export class HeadComparison {
  readonly #classes: number;
  readonly #logits: boolean;
  #images = 0;
  #labelled = 0;
  #agree = 0;
  #performerWrong = 0;
  #explainerWrong = 0;
  #kl = 0;
  #halfL1 = 0;
  #difference = 0;
  readonly #pairs = new Pairs();

  constructor({ classes, kind = 'logits' }: HeadOptions) {
    if (!Number.isInteger(classes) || classes < 1) {
      throw expected('an integer >= 1', 'classes', classes, { op: 'head' });
    }
    this.#classes = classes;
    this.#logits = kind === 'logits';
  }

  /**
   * Adds images: outputs (images, classes), and for each image its class, or -1 where it is not known.
   * Throws `E_SHAPE`.
   */
  add(performer: Float32Array, explainer: Float32Array, labels?: ArrayLike<number>): this {
    const K = this.#classes;
    const images = performer.length / K;
    if (!Number.isInteger(images) || explainer.length !== performer.length) {
      const what = `twice (images, ${String(K)}) values`;
      throw expected(what, 'outputs', [performer.length, explainer.length], {
        code: 'E_SHAPE',
        op: 'head',
      });
    }
    if (labels && labels.length !== images) {
      throw expected(`${String(images)} labels`, 'labels', labels, { code: 'E_SHAPE', op: 'head' });
    }
    for (let n = 0; n < images; n++) {
      const p = performer.subarray(n * K, (n + 1) * K);
      const q = explainer.subarray(n * K, (n + 1) * K);
      this.#addImage(p, q, labels?.[n] ?? -1);
    }
    return this;
  }

  scores(): HeadScores {
    const labelled = this.#labelled;
    return {
      agreement: this.#classes > 1 ? this.#agree / this.#images : NaN,
      correlation: this.#classes > 1 ? undefined : this.#pairs.correlation(),
      performerError: labelled ? this.#performerWrong / labelled : undefined,
      explainerError: labelled ? this.#explainerWrong / labelled : undefined,
      kl: this.#classes > 1 ? this.#kl / this.#images : NaN,
      mae: this.#logits ? this.#difference / (this.#images * this.#classes) : NaN,
      halfL1: this.#classes > 1 ? this.#halfL1 / this.#images : NaN,
      images: this.#images,
      labelled,
    };
  }

  #addImage(p: Float32Array, q: Float32Array, label: number): void {
    this.#images++;
    p.forEach((value, k) => (this.#difference += Math.abs(value - (q[k] ?? NaN))));
    if (this.#classes === 1) {
      this.#pairs.add(p[0] ?? NaN, q[0] ?? NaN);
      return;
    }
    const [first, second] = [firstClass(p), firstClass(q)];
    if (first === second) this.#agree++;
    if (label >= 0) {
      this.#labelled++;
      if (first !== label) this.#performerWrong++;
      if (second !== label) this.#explainerWrong++;
    }
    const logP = this.#logits ? logSoftmax(p) : logOf(p);
    const logQ = this.#logits ? logSoftmax(q) : logOf(q);
    for (let k = 0; k < p.length; k++) {
      const log = logP[k] ?? 0;
      this.#kl += Math.exp(log) * (log - (logQ[k] ?? 0));
      this.#halfL1 += Math.abs(Math.exp(log) - Math.exp(logQ[k] ?? 0)) / 2;
    }
  }
}

/** Sums of pairs of numbers, taken in one by one. */
class Pairs {
  #count = 0;
  #means: [number, number] = [0, 0];
  #squares: [number, number] = [0, 0];
  #products = 0;

  /** [Welford 1962] */
  add(x: number, y: number): void {
    this.#count++;
    const [a, b] = this.#means;
    const [dx, dy] = [x - a, y - b];
    this.#means = [a + dx / this.#count, b + dy / this.#count];
    const rest = y - this.#means[1];
    this.#squares = [this.#squares[0] + dx * (x - this.#means[0]), this.#squares[1] + dy * rest];
    this.#products += dx * rest;
  }

  /** NaN where one side does not vary. */
  correlation(): number {
    return this.#products / Math.sqrt(this.#squares[0] * this.#squares[1]);
  }
}

/** `HeadComparison` for outputs that are all in memory. */
export function headScores(
  performer: Float32Array,
  explainer: Float32Array,
  { labels, ...options }: HeadOptions & { labels?: ArrayLike<number> | undefined },
): HeadScores {
  return new HeadComparison(options).add(performer, explainer, labels).scores();
}

/**
 * The score of class k that is explained: its logit, or, where outputs are probabilities (`softmax`), the
 * logarithm of it.
 */
export function scoreOf(outputs: Float32Array, k: number, softmax: boolean): number {
  const value = outputs[k] ?? NaN;
  return softmax ? Math.log(Math.max(value, TINY)) : value;
}

/** The softmax of logits: p_k = exp(z_k) / sum_j exp(z_j). */
export function probabilities(logits: Float32Array): Float64Array {
  return logSoftmax(logits).map(Math.exp);
}

function logSoftmax(z: Float32Array): Float64Array {
  const most = z.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = z.reduce((total, value) => total + Math.exp(value - most), 0);
  return Float64Array.from(z, (value) => value - most - Math.log(sum));
}

function logOf(p: Float32Array): Float64Array {
  return Float64Array.from(p, (value) => Math.log(Math.max(value, TINY)));
}
