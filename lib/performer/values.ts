import { expected, PartlensError, requireNames, requireText } from '../errors.js';
import type { DeviceOptions } from '../engine/session.js';
import { sizeOf, type Shape } from '../engine/tensor.js';
import { isCuttable } from './foreign.js';
import { nativeRunner } from './native_runner.js';
import type { NetValue, Network } from './network.js';
import type { OnnxModel } from './onnx_model.js';
import { readOnnx } from './onnx_read.js';
import { NetworkParts, type ProgramSpec } from './parts.js';
import { completePreprocessing, parsePreprocessing, readSidecar } from './preprocessing.js';
import type { Preprocessing } from './preprocessing.js';
import {
  createOnnxRuntimeRunner,
  type Runner,
  type RunnerInfo,
  type RuntimeProgram,
  type TensorRef,
  type WorkerHost,
} from './runtime/index.js';
import { coalesce, plain, sameAtoms } from './view.js';
import {
  requireRuntime,
  runtimeProgram,
  withRuntime,
  type Lowering,
  type RuntimeChoice,
} from './with_runtime.js';

export interface LoadValuesOptions extends DeviceOptions {
  /** Names of values, or of nodes for their first output. */
  values: readonly string[];
  /** Joined with the JSON file of the model's name; these fields win. */
  preprocessing?: Partial<Preprocessing>;
  /** Images that are computed together, default 8. */
  batch?: number;
  /** What computes them, see `loadPerformer`. */
  runtime?: RuntimeChoice | undefined;
}

/** A value that is computed for each image. */
export interface ModelValue {
  /** As it was asked for. */
  name: string;
  /** Without the images' axis: maps (C, H, W), whatever the layout in the file, vectors (F). */
  shape: Shape;
  size: number;
}

/** Computes chosen values of a model for preprocessed images; `loadValues` makes it. */
export class ModelValues {
  readonly path: string;
  /** sha256 (hex) of the model's bytes, followed by those of its external tensors. */
  readonly fingerprint: string;
  readonly preprocessing: Preprocessing;
  /** In the order asked for, each once. */
  readonly values: readonly ModelValue[];
  readonly batch: number;
  readonly #runner: Runner;
  /** Name of each value in the program, undefined for the image itself. */
  readonly #outputs: readonly (string | undefined)[];
  readonly #inputSize: number;

  /** @internal Use `loadValues`. */
  constructor(
    runner: Runner,
    { network, wanted, ...facts }: Wanted & { preprocessing: Preprocessing; batch: number },
  ) {
    this.#runner = runner;
    this.path = network.path;
    this.fingerprint = network.fingerprint;
    this.preprocessing = facts.preprocessing;
    this.batch = facts.batch;
    this.values = wanted.map(({ name, shape }) => ({ name, shape, size: sizeOf(shape) }));
    this.#outputs = wanted.map(({ output }) => output);
    this.#inputSize = sizeOf(network.input.shape);
  }

  /**
   * Each value of a batch of images (batch, channels, H, W), row-major, of which the first `count` are
   * kept: (count, ...shape). Throws `E_SHAPE` for another length.
   */
  async run(images: Float32Array, count: number): Promise<Float32Array[]> {
    if (images.length !== this.batch * this.#inputSize || !(count >= 1 && count <= this.batch)) {
      const what = `${String(this.batch)} x ${String(this.#inputSize)} values`;
      throw expected(what, 'images', images, { op: 'features', code: 'E_SHAPE' });
    }
    const fetch = [...new Set(this.#outputs.filter((name) => name !== undefined))];
    const got =
      fetch.length > 0 ? await this.#runner.run(PROGRAM, { inputs: { x: images }, fetch }) : {};
    return this.values.map(({ name, size }, i) => {
      const output = this.#outputs[i];
      const data = output === undefined ? images : got[output];
      if (data instanceof Float32Array) return data.subarray(0, count * size);
      throw new PartlensError('E_INTERNAL', `${name} was not computed`);
    });
  }

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
}

const PROGRAM = 'values';

/**
 * Loads the part of an ONNX model that some of its values need, whatever they are: no layer has to be
 * explainable, and what they do not need is not read. Preprocessing as in `loadPerformer`. Throws
 * `E_FILE`, `E_ONNX` (naming node, op type and opset), `E_ARGUMENT` for unknown names (listing the
 * nearest) and preprocessing that is missing; `E_BACKEND`, `E_MEMORY` from the session.
 */
export async function loadValues(path: string, options: LoadValuesOptions): Promise<ModelValues> {
  const { values: names, batch = 8, runtime = 'auto' } = options;
  requireText(path, 'path', 'features');
  requireNames(names, 'values', 'features');
  if (names.length === 0) {
    throw expected('at least one name', 'values', 'none', { op: 'features' });
  }
  if (!Number.isInteger(batch) || batch < 1) {
    throw expected('an integer >= 1', 'batch', batch, { op: 'features' });
  }
  requireRuntime(runtime, 'features');
  const given = parsePreprocessing(options.preprocessing ?? {});
  const [model, sidecar] = await Promise.all([readOnnx(path), readSidecar(path)]);
  const size = given.size ?? sidecar.preprocessing.size;
  const asked = { runtime, names, size };
  const { host, ...read } = await withRuntime(model, asked, (lower) =>
    findValues(model, [...new Set(names)], lower),
  );
  const { result: found } = read;
  const { network } = found;
  const [channels = 1, height = 1, width = 1] = network.input.shape;
  const input = { channels, height, width, bytes: network.bytes };
  try {
    const preprocessing = completePreprocessing(sidecar, given, input);
    const { reason } = read.runtime;
    const runner = host
      ? await foreignRunner(model, found, { ...options, batch, reason, host })
      : await ownRunner(found, { ...options, batch });
    return new ModelValues(runner, { ...found, preprocessing, batch });
  } catch (error) {
    host?.dispose();
    throw error;
  }
}

interface RunnerOptions extends DeviceOptions {
  batch: number;
}

/** The program that computes the values, of which several may be one. */
function programOf({ network, wanted }: Wanted): ProgramSpec {
  const computed = new Map(wanted.map(({ output, value }) => [output, value]));
  const outputs = [...computed].flatMap(([name, value]) =>
    name === undefined ? [] : { name, value },
  );
  return { from: [{ name: 'x', value: network.input }], outputs };
}

async function ownRunner(found: Wanted, { batch, ...options }: RunnerOptions): Promise<Runner> {
  const spec = programOf(found);
  const named = [...spec.from, ...spec.outputs].map(({ value }) => value);
  const parts = new NetworkParts(found.network, named);
  const programs = spec.outputs.length > 0 ? { [PROGRAM]: parts.program(spec, batch) } : {};
  return nativeRunner(parts, programs, options);
}

async function foreignRunner(
  { path, proto }: OnnxModel,
  found: Wanted,
  { batch, reason, threads, host }: RunnerOptions & { reason: string; host: WorkerHost },
): Promise<Runner> {
  const { from, outputs } = programOf(found);
  const apart = new Map(
    found.wanted.flatMap(({ output, apart }) => (apart ? [[output, apart]] : [])),
  );
  const cut = runtimeProgram(found.network, {
    from,
    outputs: outputs.filter(({ name }) => !apart.has(name)),
  });
  const program = { inputs: cut.inputs, outputs: [...cut.outputs, ...apart.values()] };
  const programs: Record<string, RuntimeProgram> = outputs.length > 0 ? { [PROGRAM]: program } : {};
  return createOnnxRuntimeRunner({ path, model: proto }, programs, {
    ...{ batch, reason, host, threads },
  });
}

interface Wanted {
  network: Network;
  wanted: {
    name: string;
    value: NetValue;
    shape: Shape;
    output: string | undefined;
    /** The tensor itself, where onnxruntime computes it and no value of the network is it. */
    apart?: TensorRef;
  }[];
}

function findValues(model: OnnxModel, names: readonly string[], lower: Lowering): Wanted {
  const network = lower(names);
  const values = [...new Set(network.outputs)];
  const wanted = names.map((name, i) => {
    const value = network.outputs[i] ?? network.input;
    const output = value === network.input ? undefined : `value${String(values.indexOf(value))}`;
    const tensor = network.views.has(name) ? name : nodeOutput(model, name);
    if (!isCuttable(network, value)) {
      const ref = { name: `tensor${String(i)}`, tensor, dims: dimsOf(network, tensor) };
      return { name, value, shape: ref.dims, output: ref.name, apart: ref };
    }
    return { name, value, shape: shapeOf(network, tensor, value), output };
  });
  return { network, wanted };
}

/** Sizes of a tensor of the file without the images. */
function dimsOf({ foreign, path }: Network, tensor: string): Shape {
  const [images, ...dims] = foreign?.sizes.get(tensor) ?? [];
  if (images !== undefined) return dims;
  throw expected(`a tensor of ${path} that onnxruntime gives out`, 'values', tensor, {
    op: 'features',
  });
}

function nodeOutput(model: OnnxModel, name: string): string {
  return model.nodes.find((node) => node.name === name)?.outputs[0] ?? name;
}

/** The tensor's own sizes where its elements come in the order of the value, else those of the value. */
function shapeOf({ views }: Network, tensor: string, value: NetValue): Shape {
  const view = views.get(tensor);
  if (view?.value !== value) return value.shape;
  const [images = [], ...axes] = view.axes;
  const own = coalesce(plain(value, 1).axes.flat());
  const same = images.every(({ axis }) => axis === 0) && sameAtoms(coalesce(axes.flat()), own);
  if (!same) return value.shape;
  return axes.map((atoms) => atoms.reduce((product, atom) => product * atom.size, 1));
}
