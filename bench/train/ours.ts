import { initialWeights, filterNorms } from '../../lib/explainer/initial.js';
import { buildTrainingGraph, INTERPRETABLE, overlapWeights } from '../../lib/explainer/loss.js';
import type { Batch } from '../../lib/explainer/trainer.js';
import { hyperParameters } from '../../lib/engine/optimizer/index.js';
import { Random } from '../../lib/random.js';
import { createSession, type DeviceOptions, type Session } from '../../lib/engine/session.js';
import type { TensorData } from '../../lib/engine/tensor.js';
import type { Setting } from './settings.js';

export type Arrays = Record<string, TensorData>;
export type Losses = Record<string, number>;

/** Prefix of the outputs that are gradients. */
export const GRADIENT = 'gradient ';

export interface OursOptions extends Pick<DeviceOptions, 'threads' | 'accuracy'> {
  /** Gradients are outputs too, so that nothing that makes them is fused away. */
  traced?: boolean;
}

/** Our training step of one setting on the CPU, on one batch. */
export class Ours {
  #steps = 0;

  private constructor(
    readonly session: Session,
    readonly setting: Setting,
    readonly batch: Batch,
    readonly fetch: readonly string[],
  ) {}

  static async create(
    setting: Setting,
    batch: Batch,
    { traced = false, ...device }: OursOptions = {},
  ): Promise<Ours> {
    const { spec, options } = setting;
    const targetPower = spec.targets.map(() => 1);
    const { graph, gradients } = buildTrainingGraph(spec, options, {
      batch: setting.batch,
      targetPower,
    });
    const fetch = [...graph.outputs.keys()];
    if (traced) {
      for (const [name, value] of gradients) graph.output(`${GRADIENT}${name}`, value);
    }
    const session = await createSession({ programs: { train: graph }, backend: 'cpu', ...device });
    return new Ours(session, setting, batch, fetch);
  }

  /**
   * Weights to start from. Biases are not 0: there a window of zeros would sit on the ReLU's kink, where
   * rounding decides whether a gradient passes.
   */
  async drawWeights(): Promise<Record<string, Float32Array>> {
    const { options } = this.setting;
    const weights = await initialWeights(this.session.persistent(['parameter']), options);
    const random = new Random(options.seed, 'bench/train/bias');
    for (const [name, values] of Object.entries(weights)) {
      if (name.endsWith('.bias')) values.forEach((_, i) => (values[i] = 0.1 * random.normal()));
    }
    return weights;
  }

  async start(weights: Record<string, Float32Array>): Promise<void> {
    await this.session.write(weights);
    for (const layer of INTERPRETABLE) {
      const w = weights[`${layer}.weight`];
      const norm = `${layer}.norm`;
      if (w) await this.session.write({ [norm]: filterNorms(w, this.setting.spec.filters) });
    }
  }

  /** One step with its losses by name, as a trainer does it; inputs are copied. */
  async step(batch = this.batch): Promise<Losses> {
    const got = await this.#run(this.fetch, batch);
    return Object.fromEntries(Object.entries(got).map(([name, data]) => [name, data[0] ?? NaN]));
  }

  /** One step of a traced session: losses and gradients. */
  async trace(): Promise<{ losses: Losses; gradients: Record<string, Float32Array> }> {
    const outputs = [...this.session.program('train').outputs.keys()];
    const losses: Losses = {};
    const gradients: Record<string, Float32Array> = {};
    for (const [name, data] of Object.entries(await this.#run(outputs))) {
      if (!name.startsWith(GRADIENT)) losses[name] = data[0] ?? NaN;
      else if (data instanceof Float32Array) gradients[name.slice(GRADIENT.length)] = data;
    }
    return { losses, gradients };
  }

  dispose(): void {
    this.session.dispose();
  }

  async #run(fetch: readonly string[], batch = this.batch): Promise<Arrays> {
    const { setting } = this;
    const targets = batch.targets.map((data, l) => [`target_${String(l + 1)}`, data] as const);
    const hyper = hyperParameters(setting.options.lr, this.#steps++, setting.options);
    const weights = overlapWeights(setting.options, 0);
    const inputs = { features: batch.features, ...Object.fromEntries(targets), hyper, ...weights };
    return this.session.run('train', { inputs, fetch });
  }
}
