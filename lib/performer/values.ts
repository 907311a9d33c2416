import { expected, PartlensError, requireNames, requireText } from '../errors.js';
import {
  createSession,
  deviceOptions,
  type DeviceOptions,
  type Session,
  type SessionInfo,
} from '../engine/session.js';
import { sizeOf, type Shape } from '../engine/tensor.js';
import { lowerModel } from './lower.js';
import type { NetValue, Network } from './network.js';
import type { OnnxModel } from './onnx_model.js';
import { readOnnx } from './onnx_read.js';
import { NetworkParts } from './parts.js';
import { completePreprocessing, parsePreprocessing, readSidecar } from './preprocessing.js';
import type { Preprocessing } from './preprocessing.js';
import { coalesce, plain, sameAtoms } from './view.js';

export interface LoadValuesOptions extends DeviceOptions {
  /** Names of values, or of nodes for their first output. */
  values: readonly string[];
  /** Joined with the JSON file of the model's name; these fields win. */
  preprocessing?: Partial<Preprocessing>;
  /** Images that are computed together, default 8. */
  batch?: number;
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
  readonly #session: Session;
  /** Name of each value in the program, undefined for the image itself. */
  readonly #outputs: readonly (string | undefined)[];
  readonly #inputSize: number;

  /** @internal Use `loadValues`. */
  constructor(
    session: Session,
    { network, wanted, ...facts }: Wanted & { preprocessing: Preprocessing; batch: number },
  ) {
    this.#session = session;
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
      fetch.length > 0 ? await this.#session.run(PROGRAM, { inputs: { x: images }, fetch }) : {};
    return this.values.map(({ name, size }, i) => {
      const output = this.#outputs[i];
      const data = output === undefined ? images : got[output];
      if (data instanceof Float32Array) return data.subarray(0, count * size);
      throw new PartlensError('E_INTERNAL', `${name} was not computed`);
    });
  }

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
}

const PROGRAM = 'values';

/**
 * Loads the part of an ONNX model that some of its values need, whatever they are: no layer has to be
 * explainable, and what they do not need is not read. Preprocessing as in `loadPerformer`. Throws
 * `E_FILE`, `E_ONNX` (naming node, op type and opset), `E_ARGUMENT` for unknown names (listing the
 * nearest) and preprocessing that is missing; `E_BACKEND`, `E_MEMORY` from the session.
 */
export async function loadValues(path: string, options: LoadValuesOptions): Promise<ModelValues> {
  const { values: names, batch = 8 } = options;
  requireText(path, 'path', 'features');
  requireNames(names, 'values', 'features');
  if (names.length === 0) {
    throw expected('at least one name', 'values', 'none', { op: 'features' });
  }
  if (!Number.isInteger(batch) || batch < 1) {
    throw expected('an integer >= 1', 'batch', batch, { op: 'features' });
  }
  const given = parsePreprocessing(options.preprocessing ?? {});
  const [model, sidecar] = await Promise.all([readOnnx(path), readSidecar(path)]);
  const size = given.size ?? sidecar.preprocessing.size;
  const found = findValues(model, [...new Set(names)], size);
  const { network, wanted } = found;
  const [channels = 1, height = 1, width = 1] = network.input.shape;
  const input = { channels, height, width, bytes: network.bytes };
  const preprocessing = completePreprocessing(sidecar, given, input);
  const computed = new Map(wanted.map(({ output, value }) => [output, value]));
  const outputs = [...computed].flatMap(([name, value]) =>
    name === undefined ? [] : { name, value },
  );
  const from = [{ name: 'x', value: network.input }];
  const parts = new NetworkParts(network, [network.input, ...computed.values()]);
  const session = await createSession({
    programs: outputs.length > 0 ? { [PROGRAM]: parts.program({ from, outputs }, batch) } : {},
    ...deviceOptions(options),
  });
  try {
    await session.write(parts.weights);
  } catch (error) {
    session.dispose();
    throw error;
  }
  return new ModelValues(session, { ...found, preprocessing, batch });
}

interface Wanted {
  network: Network;
  wanted: { name: string; value: NetValue; shape: Shape; output: string | undefined }[];
}

function findValues(
  model: OnnxModel,
  names: readonly string[],
  size: Preprocessing['size'] | undefined,
): Wanted {
  const network = lowerModel(model, { wanted: names, ...(size === undefined ? {} : { size }) });
  const values = [...new Set(network.outputs)];
  const wanted = names.map((name, i) => {
    const value = network.outputs[i] ?? network.input;
    const output = value === network.input ? undefined : `value${String(values.indexOf(value))}`;
    const tensor = network.views.has(name) ? name : nodeOutput(model, name);
    return { name, value, shape: shapeOf(network, tensor, value), output };
  });
  return { network, wanted };
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
