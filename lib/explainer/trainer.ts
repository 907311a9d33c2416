import { PartlensError } from '../errors.js';
import type { Graph } from '../engine/graph.js';
import { maxpool2d } from '../engine/ops/index.js';
import { hyperParameters, cosine } from '../engine/optimizer/index.js';
import {
  createSession,
  deviceOptions,
  type DeviceOptions,
  type Session,
} from '../engine/session.js';
import type { TensorData } from '../engine/tensor.js';
import { inPieces } from '../pace.js';
import { filterNorms, initialWeights, type InitialDirections } from './initial.js';
import { centreTaps, LeastSquares } from './least_squares.js';
import type { TailPart } from '../performer/index.js';
import { buildTrainingGraph, INTERPRETABLE, overlapWeights } from './loss.js';
import { codeChannels } from './appearance.js';
import { foreignImages } from './balance.js';
import { buildNetwork, rebuiltNames } from './network.js';
import type { NetworkSpec } from './network_spec.js';
import { Random } from '../random.js';
import type { TrainOptions } from './options.js';

/** Cells that the least squares of the decoder are taken over. */
const LEAST_SQUARES_CELLS = 8192;

/** One batch of stored features, row-major. */
export interface Batch {
  /** (B, C, n, m). */
  features: Float32Array;
  /** (B, ...) each. */
  targets: readonly Float32Array[];
  /** What bypasses the layer, (B, ...) each. */
  bypass: readonly Float32Array[];
  /** The performer's output, (B, size); undefined where nobody compares it. */
  output: Float32Array | undefined;
}

/** The loss of one step, term by term; `loss` is the sum of rec, kl, contribution, filter, overlap. */
export interface StepReport {
  step: number;
  loss: number;
  /** Weighted relative squared error of the rebuilt maps, if any, and of each target. */
  rec: number[];
  /** Weighted divergence of the rebuilt classes from the performer's; undefined where it is not asked for. */
  kl?: number;
  contribution: number;
  /** Weighted filter loss of each interpretable layer. */
  filter: number[];
  /** Weighted overlap of the filters of each interpretable layer, 0 without; none with diversity 0. */
  overlap: number[];
  /** Balanced weights lambda_f. */
  lambda: number[];
  /** Share of the parts, 0..1. */
  p: number;
  learningRate: number;
}

export interface TrainerOptions extends DeviceOptions {
  spec: NetworkSpec;
  options: TrainOptions;
  /** Images in a batch. */
  batch: number;
  /** Steps of the whole run: the length of the cosine decay. */
  steps: number;
  /** mean(x*_l^2) over the training features, one for each of `rebuiltNames`. */
  targetPower: readonly number[];
  /** The performer's later layers, to be trained through. */
  tail?: TailPart | undefined;
  /** The performer's output holds probabilities, not logits. */
  softmax?: boolean;
  /** Images of `partMaps`, default 0: none. */
  watched?: number;
}

/** The network in training: one session, its initial weights, its steps, its state. */
export class Trainer {
  readonly session: Session;
  readonly #options: TrainerOptions;
  readonly #fetch: string[];

  private constructor(session: Session, options: TrainerOptions, fetch: string[]) {
    this.session = session;
    this.#options = options;
    this.#fetch = fetch;
  }

  /** Compiles the graphs and reserves memory. Throws what `createSession` throws. */
  static async create(options: TrainerOptions): Promise<Trainer> {
    const { spec, batch, targetPower, tail } = options;
    const training = buildTrainingGraph(spec, options.options, { batch, targetPower, tail });
    const calibration = buildNetwork(spec, options.options, { batch, mode: 'calibrate' });
    calibration.z.forEach((z, l) => {
      calibration.graph.output(`z_${String(l + 1)}`, z);
    });
    calibration.graph.output('x_enc', calibration.xEnc);
    if (spec.site) {
      const { pool } = spec;
      calibration.graph.output('site', pool ? maxpool2d(calibration.c, pool) : calibration.c);
    }
    const watched = options.watched ?? 0;
    const session = await createSession({
      programs: {
        train: training.graph,
        calibrate: calibration.graph,
        ...(watched > 0 ? { watch: watchGraph(options, watched) } : {}),
      },
      ...deviceOptions(options),
    });
    if (tail) {
      const kept = session.persistent(['frozen']);
      const used = Object.entries(tail.weights).filter(([name]) => kept.has(name));
      await session.write(Object.fromEntries(used)).catch((error: unknown) => {
        session.dispose();
        throw error;
      });
    }
    return new Trainer(session, options, [...training.graph.outputs.keys()]);
  }

  /**
   * Initial weights from the seed (DESIGN 1.1). The decoder `own` then starts from least squares on the
   * first batches: from the encoding to the maps. The decoder `learned` is scaled on the first batch, layer
   * by layer, so that pre-activations have the mean and standard deviation of their target.
   */
  async initialise(first: readonly Batch[], directions: InitialDirections = {}): Promise<void> {
    const { spec, options } = this.#options;
    const shapes = this.session.persistent(['parameter']);
    const weights = await initialWeights(shapes, options, directions);
    await this.session.write(weights);
    const held = this.session.persistent(['state']);
    for (const layer of INTERPRETABLE) {
      const w = weights[`${layer}.weight`];
      if (w && held.has(`${layer}.norm`)) {
        await this.session.write({ [`${layer}.norm`]: filterNorms(w, spec.filters) });
      }
    }
    if (spec.site) return this.#solveDecoder(first);
    for (const batch of first.slice(0, 1)) {
      for (const [l, target] of batch.targets.entries()) await this.#calibrate(batch, l, target);
    }
  }

  /** `conv_dec` by least squares; its bias too. */
  async #solveDecoder(first: readonly Batch[]): Promise<void> {
    const { spec, options } = this.#options;
    const S = spec.site?.channels ?? 0;
    const fit = new LeastSquares(codeChannels(spec, options), S, {
      seed: options.seed,
      most: LEAST_SQUARES_CELLS,
    });
    for (const [step, { features }] of first.entries()) {
      const run = { inputs: { features, ...this.#kept(step) }, fetch: ['x_enc', 'site'] };
      const { x_enc: x, site } = await this.session.run('calibrate', run);
      const share = { images: this.#options.batch, batches: first.length };
      await fit.add(toFloats(x), toFloats(site), share);
    }
    const { weights, bias } = await fit.solve();
    await this.session.write({
      'conv_dec.weight': centreTaps(weights, options.decoderKernel),
      'conv_dec.bias': bias,
    });
  }

  async #calibrate({ features }: Batch, l: number, target: Float32Array): Promise<void> {
    const name = `fc_dec_${String(l + 1)}`;
    const output = `z_${String(l + 1)}`;
    const got = await this.session.run('calibrate', { inputs: { features }, fetch: [output] });
    const z = moments(got[output] ?? []);
    const wanted = moments(target);
    const gain = z.deviation > 0 ? wanted.deviation / z.deviation : 1;
    const held = await this.session.read([`${name}.weight`, `${name}.bias`]);
    const weight = toFloats(held[`${name}.weight`]);
    await inPieces(weight.length, (from, to) => {
      for (let i = from; i < to; i++) weight[i] = (weight[i] ?? 0) * gain;
    });
    await this.session.write({
      [`${name}.weight`]: weight,
      [`${name}.bias`]: toFloats(held[`${name}.bias`]).map(
        (b) => b * gain + wanted.mean - gain * z.mean,
      ),
    });
  }

  /** One optimizer step. Throws `E_STATE` naming step and term when a term is not finite. */
  async step(batch: Batch, step: number): Promise<StepReport> {
    const { spec, options, steps, batch: images, tail, softmax = false } = this.#options;
    const divergence = tail !== undefined && options.lambdaKl > 0;
    const learningRate = cosine(step, steps, options.lr, options.lrEnd);
    const named = (stem: string, list: readonly Float32Array[]): Record<string, Float32Array> =>
      Object.fromEntries(list.map((data, i) => [`${stem}_${String(i + 1)}`, data]));
    const weights = overlapWeights(options, step / Math.max(steps - 1, 1));
    const { output } = batch;
    const inputs = {
      ...weights,
      features: batch.features,
      ...named('target', batch.targets),
      ...named('bypass', batch.bypass),
      ...(output && divergence ? { logits: softmax ? logarithms(output) : output } : {}),
      ...(output && spec.classes ? { foreign: foreignImages(output, spec, images) } : {}),
      hyper: hyperParameters(learningRate, step, options),
      ...this.#filterHyper(step),
      ...this.#kept(step),
    };
    const got = await this.session.run('train', { inputs, fetch: this.#fetch });
    const report = readReport(got, {
      step,
      learningRate,
      weights,
      balanced: options.lambdaFilter === 'balanced',
    });
    checkFinite(report, rebuiltNames(this.#options.spec));
    return report;
  }

  /** Where filters learn in the first of the steps alone: their learning rate falls within these. */
  #filterHyper(step: number): Record<string, Float32Array> {
    const { options, steps } = this.#options;
    const { filterShare = 1, lr, lrEnd } = options;
    if (filterShare === 1) return {};
    const last = Math.max(1, Math.round(filterShare * steps));
    const rate = step < last ? cosine(step, last, lr, lrEnd) : 0;
    return { hyper_filters: hyperParameters(rate, step, options) };
  }

  /** Images of a step that keep their ordinary track, where some have to do without (`ordinaryCode`). */
  #kept(step: number): Record<string, Float32Array> {
    const { options, batch } = this.#options;
    const { appearance = 0, ordinaryChannels, ordinaryDropout, seed } = options;
    if (appearance === 0 || ordinaryChannels === 0 || ordinaryDropout === 0) return {};
    const random = new Random(seed, `ordinary/${String(step)}`);
    const kept = Float32Array.from({ length: batch }, () =>
      Number(random.uniform() >= ordinaryDropout),
    );
    return { ordinary_kept: kept };
  }

  /**
   * Part maps of conv_interp_2 (watched, D, n, n) as they are now, from the performer's maps (watched, C,
   * n, n). Changes nothing. Throws `E_ARGUMENT` when the trainer was made without `watched`.
   */
  async partMaps(features: Float32Array): Promise<Float32Array> {
    const { layer2 } = await this.session.run('watch', { inputs: { features }, fetch: ['layer2'] });
    return toFloats(layer2);
  }

  /** All parameters and states by name, row-major. */
  async state(): Promise<Record<string, TensorData>> {
    return this.session.read([...this.session.persistent().keys()]);
  }

  /** Puts back what `state` gave. Throws `E_SHAPE` when it belongs to another network. */
  async restore(state: Record<string, TensorData>): Promise<void> {
    const missing = [...this.session.persistent().keys()].find((name) => !state[name]);
    if (missing !== undefined) {
      throw new PartlensError(
        'E_FILE',
        `The checkpoint lacks ${missing}: it is of another network.`,
      );
    }
    await this.session.write(state);
  }

  dispose(): void {
    this.session.dispose();
  }
}

/** The way to the part maps alone, with the running means as they are. */
function watchGraph({ spec, options }: TrainerOptions, batch: number): Graph {
  const { graph, a2 } = buildNetwork(spec, options, { batch, mode: 'evaluate' });
  graph.output('layer2', a2);
  return graph;
}

interface StepConstants {
  step: number;
  learningRate: number;
  /** What `overlapWeights` gave. */
  weights: Record<string, Float32Array>;
  balanced: boolean;
}

function readReport(
  got: Record<string, TensorData>,
  { step, learningRate, weights, balanced }: StepConstants,
): StepReport {
  const scalar = (name: string): number => got[name]?.[0] ?? NaN;
  const all = (stem: string): number[] =>
    Object.keys(got)
      .filter((name) => name.startsWith(`${stem}_`))
      .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
      .map(scalar);
  const rec = all('rec');
  const lambda = all('lambda');
  const filter = all('filter').map((loss, l) => loss * (lambda[l] ?? 0));
  const weighted = Object.keys(weights).length > 0 ? filter : [];
  const overlap = weighted.map((_, l) => {
    const weight = weights[`diversity_${String(l + 1)}`]?.[0];
    if (weight === undefined) return 0;
    return scalar(`overlap_${String(l + 1)}`) * weight * (balanced ? (lambda[l] ?? 0) : 1);
  });
  const contribution = scalar('contribution');
  const kl = got['kl'] ? { kl: scalar('kl') } : {};
  const terms = [...rec, ...Object.values(kl), contribution, ...filter, ...overlap];
  const loss = terms.reduce((sum, term) => sum + term, 0);
  return {
    step,
    loss,
    rec,
    ...kl,
    contribution,
    filter,
    overlap,
    lambda,
    p: scalar('p'),
    learningRate,
  };
}

function checkFinite(
  { step, rec, kl = 0, contribution, filter, overlap, p }: StepReport,
  names: readonly string[],
): void {
  const terms = [
    ...rec.map((value, l) => [`reconstruction loss of ${names[l] ?? ''}`, value] as const),
    ['divergence of the classes', kl] as const,
    ...filter.map((value, l) => [`filter loss of ${INTERPRETABLE[l] ?? ''}`, value] as const),
    ...overlap.map((value, l) => [`overlap of ${INTERPRETABLE[l] ?? ''}`, value] as const),
    ['contribution loss of mix.w_p', contribution] as const,
    ['weight p of mix.w_p', p] as const,
  ];
  const bad = terms.find(([, value]) => !Number.isFinite(value));
  if (!bad) return;
  throw new PartlensError(
    'E_STATE',
    `Training stopped at step ${String(step + 1)}: the ${bad[0]} is ${String(bad[1])}. ` +
      'Checkpoints so far are kept; try a smaller --lr.',
    { op: 'train', details: { step, term: bad[0] } },
  );
}

function moments(values: ArrayLike<number>): { mean: number; deviation: number } {
  let sum = 0;
  let squares = 0;
  for (const value of Array.from(values)) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / values.length;
  return { mean, deviation: Math.sqrt(Math.max(squares / values.length - mean * mean, 0)) };
}

/** Smallest probability whose logarithm is taken: the smallest normal 32-bit float. */
const TINY = 2 ** -126;

/** Logits of probabilities, but for a constant that no softmax sees. */
function logarithms(probabilities: Float32Array): Float32Array {
  return probabilities.map((p) => Math.log(Math.max(p, TINY)));
}

function toFloats(data: TensorData | undefined): Float32Array {
  if (data instanceof Float32Array) return data;
  throw new PartlensError('E_INTERNAL', 'Expected a parameter of 32-bit floats.');
}
