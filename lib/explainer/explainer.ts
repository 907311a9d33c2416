import { resolve } from 'node:path';
import type { ImageSummary } from '../data/images.js';
import { expected, PartlensError } from '../errors.js';
import { loadPerformer, type Performer } from '../performer/index.js';
import { createSession, deviceOptions, type DeviceOptions, type Session } from '../session.js';
import { loadCheckpoint } from './checkpoint.js';
import { evaluateExplainer, type EvaluateOptions, type Evaluation } from './evaluate.js';
import { buildNetwork } from './network.js';
import { readRunConfig, type RunConfig } from './run_folder.js';

export interface LoadExplainerOptions extends DeviceOptions {
  /** The performer of the run; default: loaded from the path in `config.json`. */
  performer?: Performer;
  onWarning?: (text: string) => void;
}

/** What the explainer makes of the performer's maps of `count` images. */
export interface ExplainerMaps {
  /** Part maps of both interpretable layers, (count, D, n, n), post-ReLU, before the mask. */
  layer1: Float32Array;
  layer2: Float32Array;
  /** The rebuilt features, (count, size) for each target. */
  rebuilt: Float32Array[];
}

const BATCH = 32;

/** A trained explainer, ready to be used. */
export class Explainer {
  /** Folder of the run. */
  readonly run: string;
  readonly config: RunConfig;
  readonly performer: Performer;
  /** Steps that its parameters have seen. */
  readonly step: number;
  /** Share of the features that parts carry, 0..1. */
  readonly p: number;
  /** Images of the training run that were used and skipped; undefined for a loaded one. */
  readonly summary: ImageSummary | undefined;
  readonly #session: Session;
  readonly #ownsPerformer: boolean;

  private constructor(
    session: Session,
    facts: Pick<Explainer, 'run' | 'config' | 'performer' | 'step' | 'p' | 'summary'>,
    ownsPerformer: boolean,
  ) {
    this.#session = session;
    this.#ownsPerformer = ownsPerformer;
    this.run = facts.run;
    this.config = facts.config;
    this.performer = facts.performer;
    this.step = facts.step;
    this.p = facts.p;
    this.summary = facts.summary;
  }

  /** Loads the newest checkpoint of a run folder. Throws `E_FILE`, `E_STATE`. */
  static async load(
    folder: string,
    options: LoadExplainerOptions & { summary?: ImageSummary } = {},
  ): Promise<Explainer> {
    const run = resolve(folder);
    const config = await readRunConfig(run);
    const checkpoint = await loadCheckpoint(run, config.fingerprint, options.onWarning);
    if (!checkpoint) throw new PartlensError('E_FILE', `${run} holds no checkpoint.`);
    const performer = options.performer ?? (await performerOf(config, options));
    if (!isPerformerOf(config, performer)) {
      if (!options.performer) performer.dispose();
      throw new PartlensError(
        'E_STATE',
        `${performer.path} is not the model, or not cut at the layers, that ${run} explains.`,
      );
    }
    const network = buildNetwork({ ...config.network, pool: config.network.pool }, config.options, {
      batch: BATCH,
      mode: 'evaluate',
    });
    network.graph.output('layer1', network.a1);
    network.graph.output('layer2', network.a2);
    network.h.forEach((h, l) => {
      network.graph.output(`h_${String(l + 1)}`, h);
    });
    const session = await createSession({
      programs: { evaluate: network.graph },
      ...deviceOptions(options),
    });
    const held = session.persistent();
    const tensors = Object.entries(checkpoint.tensors).filter(([name]) => held.has(name));
    await session.write(Object.fromEntries(tensors));
    const p = 1 / (1 + Math.exp(-(checkpoint.tensors['mix.w_p']?.[0] ?? NaN)));
    const facts = { run, config, performer, step: checkpoint.step, p, summary: options.summary };
    return new Explainer(session, facts, !options.performer);
  }

  /**
   * Part maps and rebuilt features from the performer's maps (count, C, n, n), row-major. Throws
   * `E_SHAPE`.
   */
  async maps(features: Float32Array, count: number): Promise<ExplainerMaps> {
    const { channels, side, filters, targets } = this.config.network;
    const size = channels * side * side;
    if (features.length !== count * size) {
      throw expected(`${String(count * size)} values`, 'features', features, { code: 'E_SHAPE' });
    }
    const sizes = [filters * side * side, filters * side * side, ...targets.map((t) => t.size)];
    const names = ['layer1', 'layer2', ...targets.map((_, l) => `h_${String(l + 1)}`)];
    const results = sizes.map((each) => new Float32Array(count * each));
    for (let start = 0; start < count; start += BATCH) {
      const images = Math.min(BATCH, count - start);
      const part = new Float32Array(BATCH * size);
      part.set(features.subarray(start * size, (start + images) * size));
      const got = await this.#session.run('evaluate', { inputs: { features: part }, fetch: names });
      names.forEach((name, i) => {
        const each = sizes[i] ?? 0;
        const data = got[name]?.subarray(0, images * each);
        if (data) results[i]?.set(data, start * each);
      });
    }
    const [layer1, layer2, ...rebuilt] = results;
    if (!layer1 || !layer2) throw new PartlensError('E_INTERNAL', 'The explainer has no maps.');
    return { layer1, layer2, rebuilt };
  }

  /** Location instability with its controls, reconstruction, head: DESIGN 1.3. */
  async evaluate(options: EvaluateOptions = {}): Promise<Evaluation> {
    return evaluateExplainer(this, options);
  }

  /** Frees the memory. Safe to call twice. */
  dispose(): void {
    this.#session.dispose();
    if (this.#ownsPerformer) this.performer.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Loads a trained explainer with its performer from a run folder. Throws `E_FILE`, `E_STATE`. */
export async function loadExplainer(
  run: string,
  options: LoadExplainerOptions = {},
): Promise<Explainer> {
  return Explainer.load(run, options);
}

/** The same model, cut at the same places. */
function isPerformerOf({ performer: known }: RunConfig, performer: Performer): boolean {
  const { fingerprint, layer, targets } = performer;
  const names = targets.map(({ name }) => name);
  return (
    fingerprint === known.fingerprint &&
    layer.name === known.layer &&
    names.join('\n') === known.targets.join('\n')
  );
}

async function performerOf(
  { performer }: RunConfig,
  options: LoadExplainerOptions,
): Promise<Performer> {
  const { path, layer, targets, output, preprocessing } = performer;
  return loadPerformer(path, {
    layer,
    targets,
    ...(output === undefined ? {} : { output }),
    ...(preprocessing ? { preprocessing } : {}),
    ...deviceOptions(options),
  });
}
