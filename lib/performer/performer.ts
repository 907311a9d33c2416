import { expected, PartlensError } from '../errors.js';
import type { FeatureInfo, LayerInfo, PoolInfo, SiteInfo } from './layer_info.js';
import type { Preprocessing } from './preprocessing.js';
import type { Runner, RunnerInfo } from './runtime/index.js';
import type { TailPart } from './tail_part.js';
import type { RuntimeUse } from './with_runtime.js';

/** What the performer makes of its later layers' inputs, for `count` images. */
export interface PerformerAnswer {
  /** One (count, ...) for each target. */
  targets: Float32Array[];
  /** (count, output size). */
  output: Float32Array;
}

/** Features of `count` images. */
export interface PerformerFeatures extends PerformerAnswer {
  /** (count, C, n, m). */
  layer: Float32Array;
  /** What bypasses the layer, one (count, ...) for each of `Performer.bypass`. */
  bypass: Float32Array[];
}

/** What is known of a performer beside its programs. */
export interface PerformerFacts {
  path: string;
  fingerprint: string;
  input: { name: string; channels: number; height: number; width: number };
  layer: LayerInfo;
  site: SiteInfo;
  bypass: readonly FeatureInfo[];
  targets: readonly FeatureInfo[];
  output: { name: string; size: number; softmax: boolean; classifier: boolean };
  learned: { pool: PoolInfo | undefined } | string;
  preprocessing: Preprocessing;
  classes: readonly string[] | undefined;
  batch: number;
  runtime: RuntimeUse;
  tailCost: number;
  /** Which numbers of the model's output are the output's; undefined where all are. */
  part: Int32Array | undefined;
  /** Numbers of the model's output. */
  wholeOutput: number;
  /** The output is the last target itself. */
  headless: boolean;
}

/** The CNN to be explained, cut at a layer, at the targets and at the output. */
export class Performer {
  readonly path: string;
  /** sha256 (hex) of the model's bytes, followed by those of its external tensors. */
  readonly fingerprint: string;
  /** Sizes in pixels. */
  readonly input: Readonly<PerformerFacts['input']>;
  readonly layer: LayerInfo;
  /** The maps that the decoder `own` rebuilds: the layer's, through its own pooling where it has one. */
  readonly site: SiteInfo;
  /** Values that the later layers read beside them: taken from the photograph as they are. */
  readonly bypass: readonly FeatureInfo[];
  /** Features to be rebuilt, first to last. */
  readonly targets: readonly FeatureInfo[];
  /**
   * `softmax`: its values are probabilities, otherwise logits (or what the model gives); `classifier`:
   * it is a vector of at least two of either, so that distributions over classes can be compared.
   */
  readonly output: Readonly<PerformerFacts['output']>;
  /** What the decoder `learned` reads the layer through, or why it cannot rebuild these targets. */
  readonly learned: PerformerFacts['learned'];
  readonly preprocessing: Preprocessing;
  /** Names of the output's classes, from the model's JSON file. */
  readonly classes: readonly string[] | undefined;
  /** Images that are computed together. */
  readonly batch: number;
  /** What computes it, and why. */
  readonly runtime: Readonly<RuntimeUse>;
  /** The later layers, to be trained through; undefined where they have no gradient here. */
  readonly tailPart: TailPart | undefined;
  readonly #runner: Runner;
  /** Multiply-adds of the later layers for one image, from the rebuilt maps to the output. */
  readonly tailCost: number;
  readonly #headless: boolean;
  readonly #part: Int32Array | undefined;
  readonly #wholeOutput: number;

  /** @internal Use `loadPerformer`. */
  constructor(runner: Runner, facts: PerformerFacts, tailPart: TailPart | undefined) {
    this.#runner = runner;
    this.runtime = facts.runtime;
    this.#headless = facts.headless;
    this.#part = facts.part;
    this.#wholeOutput = facts.wholeOutput;
    this.path = facts.path;
    this.fingerprint = facts.fingerprint;
    this.input = facts.input;
    this.layer = facts.layer;
    this.site = facts.site;
    this.bypass = facts.bypass;
    this.targets = facts.targets;
    this.output = facts.output;
    this.learned = facts.learned;
    this.preprocessing = facts.preprocessing;
    this.classes = facts.classes;
    this.batch = facts.batch;
    this.tailCost = facts.tailCost;
    this.tailPart = tailPart;
  }

  /**
   * Layer, bypass, targets and output of preprocessed images (count, channels, H, W), row-major. `count` may be
   * any number: the last batch is padded. Throws `E_SHAPE` when the length disagrees.
   */
  async features(images: Float32Array, count: number): Promise<PerformerFeatures> {
    const { input } = this;
    const size = input.channels * input.height * input.width;
    const given = [{ name: 'images', input: 'x', data: images, size }];
    const bypassed = this.bypass.map((value, i) => ({ name: bypassName(i), size: value.size }));
    const [layer, ...rest] = await this.#run('features', given, count, [
      { name: 'layer', size: mapsSize(this.layer) },
      ...bypassed,
      ...this.#answers(),
    ]);
    const bypass = rest.slice(0, bypassed.length);
    return { layer: layer ?? empty(), bypass, ...this.#answer(rest.slice(bypassed.length), count) };
  }

  /** The maps that the later layers read, (count, S, q, r), from those of the layer (count, C, n, m). */
  async siteMaps(layerMaps: Float32Array, count: number): Promise<Float32Array> {
    const size = mapsSize(this.layer);
    if (!this.site.pool) {
      checkLength(layerMaps, count, size, 'layerMaps');
      return layerMaps.slice();
    }
    const given = [{ name: 'layerMaps', input: 'x', data: layerMaps, size }];
    const outputs = [{ name: 'site', size: mapsSize(this.site) }];
    const [maps] = await this.#run('site', given, count, outputs);
    return maps ?? empty();
  }

  /**
   * The performer's own later layers: targets and output from maps of the site (count, S, q, r), rebuilt
   * or not, and what bypasses them, as `features` gives it.
   */
  async tail(
    siteMaps: Float32Array,
    bypass: readonly Float32Array[],
    count: number,
  ): Promise<PerformerAnswer> {
    const given = [{ name: 'siteMaps', input: 'x', data: siteMaps, size: mapsSize(this.site) }];
    this.bypass.forEach(({ size }, i) => {
      const [name, data] = [bypassName(i), bypass[i] ?? empty()];
      given.push({ name, input: name, data, size });
    });
    return this.#answer(await this.#run('tail', given, count, this.#answers()), count);
  }

  /**
   * The performer's own head: output (count, size) from the last target (count, size), rebuilt or not.
   * Throws `E_STATE` where the output does not follow from it alone (see `learned`).
   */
  async head(lastTarget: Float32Array, count: number): Promise<Float32Array> {
    const size = this.targets.at(-1)?.size ?? 0;
    if (typeof this.learned === 'string') {
      throw new PartlensError('E_STATE', `There is no head: ${this.learned}.`, { op: 'performer' });
    }
    if (this.#headless) {
      checkLength(lastTarget, count, size, 'lastTarget');
      return this.#partOf(lastTarget, count).slice();
    }
    const given = [{ name: 'lastTarget', input: 'x', data: lastTarget, size }];
    const outputs = [{ name: 'output', size: this.#wholeOutput }];
    const [output] = await this.#run('head', given, count, outputs);
    return this.#partOf(output ?? empty(), count);
  }

  /** Backend and threads, of a session of partlens also its memory. */
  info(): RunnerInfo {
    return this.#runner.info();
  }

  /** Frees the memory; a later call is `E_STATE`. Safe to call twice. */
  dispose(): void {
    this.#runner.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #answers(): { name: string; size: number }[] {
    const targets = this.targets.map(({ size }, i) => ({ name: targetName(i), size }));
    return [{ name: 'output', size: this.#wholeOutput }, ...targets];
  }

  #answer([output, ...targets]: readonly Float32Array[], count: number): PerformerAnswer {
    return { targets, output: this.#partOf(output ?? empty(), count) };
  }

  /** The numbers of the model's output that are this performer's. */
  #partOf(output: Float32Array, count: number): Float32Array {
    const [part, whole] = [this.#part, this.#wholeOutput];
    if (!part) return output;
    const result = new Float32Array(count * part.length);
    for (let n = 0; n < count; n++) {
      part.forEach((at, i) => (result[n * part.length + i] = output[n * whole + at] ?? 0));
    }
    return result;
  }

  /** Runs a program over `count` rows of each input, batch by batch. */
  async #run(
    program: string,
    given: readonly { name: string; input: string; data: Float32Array; size: number }[],
    count: number,
    outputs: readonly { name: string; size: number }[],
  ): Promise<Float32Array[]> {
    for (const { name, data, size } of given) checkLength(data, count, size, name);
    const results = outputs.map((output) => new Float32Array(count * output.size));
    const fetch = outputs.map(({ name }) => name);
    for (let start = 0; start < count; start += this.batch) {
      const images = Math.min(this.batch, count - start);
      const inputs = given.map(({ input, data, size }) => {
        const part = data.subarray(start * size, (start + images) * size);
        return [input, images === this.batch ? part : padded(part, this.batch * size)] as const;
      });
      const got = await this.#runner.run(program, { inputs: Object.fromEntries(inputs), fetch });
      outputs.forEach((output, i) => {
        const data = got[output.name]?.subarray(0, images * output.size);
        if (data) results[i]?.set(data, start * output.size);
      });
    }
    return results;
  }
}

function mapsSize({ channels, height, width }: Pick<LayerInfo, 'channels' | 'height' | 'width'>) {
  return channels * height * width;
}

/** The target's name in programs. */
export const targetName = (i: number): string => `target${String(i)}`;
export const bypassName = (i: number): string => `bypass${String(i)}`;

function checkLength(data: Float32Array, count: number, size: number, name: string): void {
  if (!Number.isInteger(count) || count < 1) {
    throw expected('an integer >= 1', 'count', count, { op: 'performer' });
  }
  if (data instanceof Float32Array && data.length === count * size) return;
  const what = `a Float32Array of ${String(count)} x ${String(size)} values`;
  throw expected(what, name, data, { op: 'performer', code: 'E_SHAPE' });
}

function padded(part: Float32Array, length: number): Float32Array {
  const whole = new Float32Array(length);
  whole.set(part);
  return whole;
}

function empty(): Float32Array {
  return new Float32Array(0);
}
