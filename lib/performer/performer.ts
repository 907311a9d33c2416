import { expected, PartlensError, requireNames, requireText } from '../errors.js';
import {
  createSession,
  deviceOptions,
  type DeviceOptions,
  type Session,
  type SessionInfo,
} from '../engine/session.js';
import {
  featureInfo,
  layerInfo,
  poolInfo,
  siteInfo,
  type FeatureInfo,
  type LayerInfo,
  type PoolInfo,
  type SiteInfo,
} from './layer_info.js';
import { lowerModel } from './lower.js';
import { elements, isMaps, type NetValue, type Network } from './network.js';
import { readOnnx } from './onnx_read.js';
import { NetworkParts, type ProgramSpec } from './parts.js';
import { completePreprocessing, parsePreprocessing, readSidecar } from './preprocessing.js';
import type { Preprocessing, Sidecar } from './preprocessing.js';
import { logitsOf } from './propose.js';
import { selectCut, type Cut, type DecoderKind } from './select.js';
import { costOfWay } from './tail.js';
import { TailPart } from './tail_part.js';

export interface LoadPerformerOptions extends DeviceOptions {
  /** Value or node whose maps are explained; default: what `inspectModel` proposes. */
  layer?: string;
  /** Features to be rebuilt, in the order of the network; default: what `inspectModel` proposes. */
  targets?: readonly string[];
  /** What the head computes; default: the graph's only output. */
  output?: string;
  /** The decoder that layer and targets are proposed for, default `own`. */
  decoder?: DecoderKind;
  /** Joined with the JSON file of the model's name; these fields win. */
  preprocessing?: Partial<Preprocessing>;
  /** Images that are computed together, default 8; any number can be asked for. */
  batch?: number;
}

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
interface Facts {
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
  tailCost: number;
  /** The output is the last target itself. */
  headless: boolean;
}

/** The CNN to be explained, cut at a layer, at the targets and at the output. */
export class Performer {
  readonly path: string;
  /** sha256 (hex) of the model's bytes, followed by those of its external tensors. */
  readonly fingerprint: string;
  /** Sizes in pixels. */
  readonly input: Readonly<Facts['input']>;
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
  readonly output: Readonly<Facts['output']>;
  /** What the decoder `learned` reads the layer through, or why it cannot rebuild these targets. */
  readonly learned: Facts['learned'];
  readonly preprocessing: Preprocessing;
  /** Names of the output's classes, from the model's JSON file. */
  readonly classes: readonly string[] | undefined;
  /** Images that are computed together. */
  readonly batch: number;
  /** The later layers, to be trained through; undefined where they have no gradient here. */
  readonly tailPart: TailPart | undefined;
  readonly #session: Session;
  /** Multiply-adds of the later layers for one image, from the rebuilt maps to the output. */
  readonly tailCost: number;
  readonly #headless: boolean;

  /** @internal Use `loadPerformer`. */
  constructor(session: Session, facts: Facts, tailPart: TailPart | undefined) {
    this.#session = session;
    this.#headless = facts.headless;
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
    return { layer: layer ?? empty(), bypass, ...answerOf(rest.slice(bypassed.length)) };
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
    return answerOf(await this.#run('tail', given, count, this.#answers()));
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
      return lastTarget.slice();
    }
    const given = [{ name: 'lastTarget', input: 'x', data: lastTarget, size }];
    const outputs = [{ name: 'output', size: this.output.size }];
    const [output] = await this.#run('head', given, count, outputs);
    return output ?? empty();
  }

  /** Backend, threads and memory of the session. */
  info(): SessionInfo {
    return this.#session.info();
  }

  /** Frees the memory; a later call is `E_STATE`. Safe to call twice. */
  dispose(): void {
    this.#session.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #answers(): { name: string; size: number }[] {
    const targets = this.targets.map(({ size }, i) => ({ name: targetName(i), size }));
    return [{ name: 'output', size: this.output.size }, ...targets];
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
      const got = await this.#session.run(program, { inputs: Object.fromEntries(inputs), fetch });
      outputs.forEach((output, i) => {
        const data = got[output.name]?.subarray(0, images * output.size);
        if (data) results[i]?.set(data, start * output.size);
      });
    }
    return results;
  }
}

function answerOf([output, ...targets]: readonly Float32Array[]): PerformerAnswer {
  return { targets, output: output ?? empty() };
}

function mapsSize({ channels, height, width }: Pick<LayerInfo, 'channels' | 'height' | 'width'>) {
  return channels * height * width;
}

const targetName = (i: number): string => `target${String(i)}`;
const bypassName = (i: number): string => `bypass${String(i)}`;

/**
 * Loads a CNN from ONNX (opset 7 to 21) and cuts it: input -> layer -> targets -> output.
 *
 * Preprocessing and class names come from the JSON file with the model's name (see `Sidecar`) or from
 * the options; nothing is guessed. Throws `E_FILE`, `E_ONNX` (naming node, op type and opset),
 * `E_ARGUMENT` for unknown names (listing the nearest), for layers that cannot be explained and for
 * preprocessing that is missing; `E_BACKEND`, `E_MEMORY` from the session.
 */
export async function loadPerformer(
  path: string,
  options: LoadPerformerOptions = {},
): Promise<Performer> {
  const { batch = 8, layer, targets } = options;
  requireText(path, 'path', 'loadPerformer');
  if (layer !== undefined) requireText(layer, 'layer', 'loadPerformer');
  if (targets !== undefined) requireNames(targets, 'targets', 'loadPerformer');
  if (!Number.isInteger(batch) || batch < 1) {
    throw expected('an integer >= 1', 'batch', batch, { op: 'loadPerformer' });
  }
  const given = parsePreprocessing(options.preprocessing ?? {});
  const [model, sidecar] = await Promise.all([readOnnx(path), readSidecar(path)]);
  const size = given.size ?? sidecar.preprocessing.size;
  const { network, cut } = selectCut(model, options, (wanted) =>
    lowerModel(model, { wanted, ...(size === undefined ? {} : { size }) }),
  );
  const facts = factsOf(network, cut, { path, sidecar, given, batch });
  const programs = programsOf(network, cut);
  const parts = new NetworkParts(network, keptValues(programs, cut));
  const graphs = Object.entries(programs).map(
    ([name, spec]) => [name, parts.program(spec, batch)] as const,
  );
  const session = await createSession({
    programs: Object.fromEntries(graphs),
    ...deviceOptions(options),
  });
  try {
    await session.write(parts.weights);
  } catch (error) {
    session.dispose();
    throw error;
  }
  return new Performer(session, facts, tailPartOf(network, cut, facts));
}

function programsOf(network: Network, cut: Cut): Record<string, ProgramSpec> {
  const { layer, site, bypass, targets, output, learned } = cut;
  const x = (value: NetValue) => ({ name: 'x', value });
  const bypassed = bypass.map((value, i) => ({ name: bypassName(i), value }));
  const answers = [
    { name: 'output', value: output },
    ...targets.map((value, i) => ({ name: targetName(i), value })),
  ];
  const last = targets.at(-1);
  const image = bypassed.filter(({ value }) => value === network.input);
  return {
    features: {
      from: [x(network.input)],
      outputs: [
        { name: 'layer', value: layer },
        ...bypassed.filter((one) => !image.includes(one)),
        ...answers,
      ],
    },
    ...(site.pool
      ? { site: { from: [x(layer)], outputs: [{ name: 'site', value: site.value }] } }
      : {}),
    tail: { from: [x(site.value), ...bypassed], outputs: answers },
    ...(typeof learned === 'string' || !last || last === output
      ? {}
      : { head: { from: [x(last)], outputs: answers.slice(0, 1) } }),
  };
}

function keptValues(programs: Record<string, ProgramSpec>, { output }: Cut): Set<NetValue> {
  const named = Object.values(programs).flatMap(({ from, outputs }) => [...from, ...outputs]);
  return new Set([...named.map(({ value }) => value), logitsOf(output)]);
}

function tailPartOf(network: Network, cut: Cut, { output }: Facts): TailPart {
  const { site, bypass, targets } = cut;
  const logits = output.classifier ? logitsOf(cut.output) : undefined;
  return new TailPart(network, { site: site.value, bypass, targets, logits });
}

interface FactSources {
  path: string;
  sidecar: Sidecar;
  given: Partial<Preprocessing>;
  batch: number;
}

function factsOf(network: Network, cut: Cut, { path, sidecar, given, batch }: FactSources): Facts {
  const [channels = 1, height = 1, width = 1] = network.input.shape;
  const { bytes } = network;
  const size = elements(cut.output);
  const { classes } = sidecar;
  if (classes && cut.isModelOutput && classes.length !== size) {
    throw expected(`${String(size)} classes, as the output has`, 'classes', classes.length, {
      op: 'loadPerformer',
      details: { sidecar: sidecar.path },
    });
  }
  const { learned } = cut;
  const kind = cut.output.step?.op.kind ?? '';
  const classifier =
    size >= 2 && !isMaps(cut.output) && !['relu', 'clip', 'activation'].includes(kind);
  return {
    path,
    fingerprint: network.fingerprint,
    input: { name: network.input.name, channels, height, width },
    layer: layerInfo(cut.layer),
    site: siteInfo(cut.site),
    bypass: cut.bypass.map(featureInfo),
    targets: cut.targets.map(featureInfo),
    output: { name: cut.output.name, size, softmax: kind === 'softmax', classifier },
    learned: typeof learned === 'string' ? learned : { pool: poolInfo(learned.pool) },
    preprocessing: completePreprocessing(sidecar, given, { channels, height, width, bytes }),
    classes,
    batch,
    tailCost: costOfWay(network, cut.site.value, [...cut.targets, cut.output]),
    headless: cut.targets.at(-1) === cut.output,
  };
}

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
