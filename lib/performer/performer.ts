import { expected, requireNames, requireText } from '../errors.js';
import {
  createSession,
  deviceOptions,
  type DeviceOptions,
  type Session,
  type SessionInfo,
} from '../engine/session.js';
import { featureInfo, layerInfo, type FeatureInfo, type LayerInfo } from './layer_info.js';
import { lowerModel } from './lower.js';
import { elements, type NetValue, type Network, type PoolOp } from './network.js';
import { readOnnx } from './onnx_read.js';
import { completePreprocessing, parsePreprocessing, readSidecar } from './preprocessing.js';
import type { Preprocessing, Sidecar } from './preprocessing.js';
import { selectCut, type Cut } from './select.js';
import { buildGraphs, type ProgramSpec } from './to_ops.js';

export interface LoadPerformerOptions extends DeviceOptions {
  /** Value or node whose maps are explained; default: what `inspectModel` proposes. */
  layer?: string;
  /** Features to be rebuilt, in the order of the network; default: what `inspectModel` proposes. */
  targets?: readonly string[];
  /** What the head computes; default: the graph's only output. */
  output?: string;
  /** Joined with the JSON file of the model's name; these fields win. */
  preprocessing?: Partial<Preprocessing>;
  /** Images that are computed together, default 8; any number can be asked for. */
  batch?: number;
}

/** The pooling that the explainer repeats, in the terms of `maxpool2d`. */
export type PerformerPool = Pick<PoolOp, 'kernel' | 'stride' | 'pad' | 'ceil'>;

/** Features of `count` images. */
export interface PerformerFeatures {
  /** (count, C, n, n). */
  layer: Float32Array;
  /** One (count, size) for each target. */
  targets: Float32Array[];
  /** (count, output size). */
  output: Float32Array;
}

/** What is known of a performer beside its programs. */
interface Facts {
  path: string;
  fingerprint: string;
  input: { name: string; channels: number; height: number; width: number };
  layer: LayerInfo;
  targets: readonly FeatureInfo[];
  output: { name: string; size: number; softmax: boolean };
  pool: PerformerPool | undefined;
  preprocessing: Preprocessing;
  classes: readonly string[] | undefined;
  batch: number;
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
  /** Features to be rebuilt, first to last. */
  readonly targets: readonly FeatureInfo[];
  /** `softmax`: its values are probabilities, otherwise logits (or what the model gives). */
  readonly output: Readonly<Facts['output']>;
  /** Max pooling between the layer and the first fully connected layer. */
  readonly pool: PerformerPool | undefined;
  readonly preprocessing: Preprocessing;
  /** Names of the output's classes, from the model's JSON file. */
  readonly classes: readonly string[] | undefined;
  /** Images that are computed together. */
  readonly batch: number;
  readonly #session: Session;
  readonly #headless: boolean;

  /** @internal Use `loadPerformer`. */
  constructor(session: Session, facts: Facts) {
    this.#session = session;
    this.#headless = facts.headless;
    this.path = facts.path;
    this.fingerprint = facts.fingerprint;
    this.input = facts.input;
    this.layer = facts.layer;
    this.targets = facts.targets;
    this.output = facts.output;
    this.pool = facts.pool;
    this.preprocessing = facts.preprocessing;
    this.classes = facts.classes;
    this.batch = facts.batch;
  }

  /**
   * Layer, targets and output of preprocessed images (count, 3, H, W), row-major. `count` may be any
   * number: the last batch is padded. Throws `E_SHAPE` when the length disagrees.
   */
  async features(images: Float32Array, count: number): Promise<PerformerFeatures> {
    const { channels, height, width } = this.input;
    const { layer } = this;
    const [first, ...rest] = await this.#run('features', images, count, channels * height * width, [
      { name: 'layer', size: layer.channels * layer.size * layer.size },
      { name: 'output', size: this.output.size },
      ...this.#targetOutputs(),
    ]);
    const [output, ...targets] = rest;
    return { layer: first ?? empty(), targets, output: output ?? empty() };
  }

  /** Targets computed from maps of the layer (count, C, n, n): what the performer makes of them. */
  async targetsFrom(layerMaps: Float32Array, count: number): Promise<Float32Array[]> {
    const { channels, size } = this.layer;
    return this.#run('targets', layerMaps, count, channels * size * size, this.#targetOutputs());
  }

  /** The performer's own head: output (count, size) from the last target (count, size), rebuilt or not. */
  async head(lastTarget: Float32Array, count: number): Promise<Float32Array> {
    const size = this.targets.at(-1)?.size ?? 0;
    if (this.#headless) {
      checkLength(lastTarget, count, size, 'lastTarget');
      return lastTarget.slice();
    }
    const [output] = await this.#run('head', lastTarget, count, size, [
      { name: 'output', size: this.output.size },
    ]);
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

  #targetOutputs(): { name: string; size: number }[] {
    return this.targets.map(({ size }, i) => ({ name: `target${String(i)}`, size }));
  }

  /** Runs a program over `count` rows of `size` values, batch by batch. */
  async #run(
    program: string,
    x: Float32Array,
    count: number,
    size: number,
    outputs: readonly { name: string; size: number }[],
  ): Promise<Float32Array[]> {
    checkLength(x, count, size, program === 'features' ? 'images' : program);
    const results = outputs.map((output) => new Float32Array(count * output.size));
    const fetch = outputs.map(({ name }) => name);
    for (let start = 0; start < count; start += this.batch) {
      const images = Math.min(this.batch, count - start);
      const part = x.subarray(start * size, (start + images) * size);
      const whole = images === this.batch ? part : padded(part, this.batch * size);
      const got = await this.#session.run(program, { inputs: { x: whole }, fetch });
      outputs.forEach((output, i) => {
        const data = got[output.name]?.subarray(0, images * output.size);
        if (data) results[i]?.set(data, start * output.size);
      });
    }
    return results;
  }
}

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
  const { graphs, weights } = buildGraphs(network, programsOf(network, cut), batch);
  const session = await createSession({
    programs: graphs,
    ...deviceOptions(options),
  });
  try {
    await session.write(weights);
  } catch (error) {
    session.dispose();
    throw error;
  }
  return new Performer(session, facts);
}

function programsOf(
  network: Network,
  { layer, targets, output }: Cut,
): Record<string, ProgramSpec> {
  const wanted = targets.map((value, i) => ({ name: `target${String(i)}`, value }));
  const last = targets.at(-1) ?? layer;
  const from = (value: NetValue) => ({ name: 'x', value });
  const outputs = [{ name: 'output', value: output }];
  return {
    features: {
      from: from(network.input),
      outputs: [{ name: 'layer', value: layer }, ...wanted, ...outputs],
    },
    targets: { from: from(layer), outputs: wanted },
    ...(last === output ? {} : { head: { from: from(last), outputs } }),
  };
}

interface FactSources {
  path: string;
  sidecar: Sidecar;
  given: Partial<Preprocessing>;
  batch: number;
}

function factsOf(network: Network, cut: Cut, { path, sidecar, given, batch }: FactSources): Facts {
  const [channels = 1, height = 1, width = 1] = network.input.shape;
  if (height !== width) {
    throw expected('square images', network.input.name, [height, width], { op: 'loadPerformer' });
  }
  const size = elements(cut.output);
  const { classes } = sidecar;
  if (classes && cut.isModelOutput && classes.length !== size) {
    throw expected(`${String(size)} classes, as the output has`, 'classes', classes.length, {
      op: 'loadPerformer',
      details: { sidecar: sidecar.path },
    });
  }
  const { kernel, stride, pad, ceil } = cut.pool ?? {};
  return {
    path,
    fingerprint: network.fingerprint,
    input: { name: network.input.name, channels, height, width },
    layer: layerInfo(cut.layer),
    targets: cut.targets.map(featureInfo),
    output: { name: cut.output.name, size, softmax: cut.output.step?.op.kind === 'softmax' },
    pool: kernel && stride && pad && ceil !== undefined ? { kernel, stride, pad, ceil } : undefined,
    preprocessing: completePreprocessing(sidecar, given, height),
    classes,
    batch,
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
