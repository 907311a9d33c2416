import { expected, PartlensError, show } from '../../errors.js';
import { sizeOf, showShape } from '../../engine/tensor.js';
import { elementTypes, encode, isWhole, toWholeNumbers } from './element_types.js';
import { independence } from './independence.js';
import type { Values } from './messages.js';
import type { ModelIndex } from './model_index.js';
import { openModel, type RuntimeModel } from './model_source.js';
import type { Runner, RunnerInfo, RuntimeProgram } from './runner.js';
import { cutProgram, type CutModel } from './surgery.js';
import { packWeights } from './weights.js';
import { backendError, WorkerHost } from './worker_host.js';

export interface OnnxRuntimeOptions {
  /** Images that are computed together, default 8; a model that fixes its batch runs in its own. */
  batch?: number | undefined;
  /** CPU threads, default all cores. */
  threads?: number | undefined;
  /** Why onnxruntime computes, for `info()`. */
  reason?: string | undefined;
  /** @internal Name of the runtime's module, for tests. */
  module?: string;
  /** The thread that is to compute, which ends with the runner; default a new one. */
  host?: WorkerHost | undefined;
}

/** A session of the worker. */
interface Opened {
  cut: CutModel;
  /** Images of a run. */
  batch: number;
  /** Why there is no session: the runtime refuses this batch. */
  refusal?: Error;
}

type Arrays = Record<string, Float32Array>;

/**
 * Computes parts of an ONNX model in onnxruntime-node, in a worker thread: values cross as float32, maps
 * as (N, C, H, W), whatever the model's own are. Any number of images can be given; memory is bounded by
 * the batch.
 */
export class OnnxRuntimeRunner implements Runner {
  readonly #host: WorkerHost;
  readonly #programs: ReadonlyMap<string, Opened>;
  readonly #info: RunnerInfo;

  /** @internal Use `createOnnxRuntimeRunner`. */
  constructor(host: WorkerHost, programs: ReadonlyMap<string, Opened>, info: RunnerInfo) {
    this.#host = host;
    this.#programs = programs;
    this.#info = info;
  }

  /**
   * Runs one program over as many images as the inputs hold. Throws `E_ARGUMENT` for unknown names,
   * `E_SHAPE` for lengths, `E_BACKEND` with onnxruntime's text where it refuses, `E_STATE` after `dispose`.
   */
  async run(
    program: string,
    { inputs, fetch }: { inputs: Arrays; fetch: readonly string[] },
  ): Promise<Arrays> {
    const opened = lookUp(this.#programs, program, 'program');
    const outputs = fetch.map((name) => {
      const known = new Map(opened.cut.outputs.map((output) => [output.given, output]));
      return lookUp(known, name, `output of ${program}`);
    });
    const count = countImages(opened, program, inputs);
    const sizes = outputs.map(({ dims }) => sizeOf(dims.slice(1)));
    const results = sizes.map((size) => new Float32Array(count * size));
    for (let start = 0; start < count; start += opened.batch) {
      const images = Math.min(opened.batch, count - start);
      const got = await runBatch(this.#host, program, opened, {
        feeds: feedsOf(opened, inputs, start, images),
        outputs,
      });
      sizes.forEach((size, i) => {
        results[i]?.set(got[i]?.subarray(0, images * size) ?? [], start * size);
      });
    }
    return Object.fromEntries(fetch.map((name, i) => [name, results[i] ?? new Float32Array(0)]));
  }

  /** Images of a run of a program. */
  batch(program: string): number {
    return lookUp(this.#programs, program, 'program').batch;
  }

  info(): RunnerInfo {
    return { ...this.#info };
  }

  dispose(): void {
    this.#host.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Cuts a model into programs and loads them into onnxruntime-node, the optional peer. An image's values
 * must not depend on the other images of its batch: this is tried once for each program, and a program
 * where they do (an exporter wrote a batch of 1 into the graph) computes one image at a time, as
 * `info().reason` says. Throws `E_BACKEND` where the peer is missing or refuses the model, `E_ARGUMENT`
 * for values that the model has not or that cannot be computed from the inputs, `E_ONNX` for a model
 * that computes random numbers.
 */
export async function createOnnxRuntimeRunner(
  model: RuntimeModel,
  programs: Readonly<Record<string, RuntimeProgram>>,
  options: OnnxRuntimeOptions = {},
): Promise<OnnxRuntimeRunner> {
  const { batch = 8, threads = 0, reason = '', module } = options;
  if (!Number.isInteger(batch) || batch < 1) throw wrong('an integer >= 1', 'batch', batch);
  if (!Number.isInteger(threads) || threads < 0) {
    throw wrong('an integer >= 1, or 0 for all', 'threads', threads);
  }
  const host = options.host ?? new WorkerHost(module === undefined ? {} : { module });
  try {
    const index = await openModel(model);
    const loader = new Loader(host, index, threads);
    const opened = await loader.open(programs, index.fixedBatch() ?? batch);
    const notes = await loader.check(programs, opened);
    return new OnnxRuntimeRunner(host, opened, {
      backend: 'onnxruntime',
      reason: [reason, ...notes].filter((text) => text !== '').join('; '),
      threads,
    });
  } catch (error) {
    host.dispose();
    throw error;
  }
}

/** Opens programs of one model as sessions of the worker. */
class Loader {
  constructor(
    readonly host: WorkerHost,
    readonly index: ModelIndex,
    readonly threads: number,
  ) {}

  /** Cuts the programs for a batch, sends their weights once, and makes their sessions. */
  async open(
    programs: Readonly<Record<string, RuntimeProgram>>,
    batch: number,
  ): Promise<Map<string, Opened>> {
    const tensors = Object.values(programs).flatMap(({ inputs }) =>
      inputs.map((one) => one.tensor),
    );
    for (const tensor of tensors) this.index.require(tensor, 'input of a program');
    const types = await elementTypes(this.host, this.index, tensors);
    const opened = new Map<string, Opened>();
    for (const [what, program] of Object.entries(programs)) {
      const cut = cutProgram(this.index, program, { batch, elementTypes: types, what });
      opened.set(what, { cut, batch });
    }
    const files = await packWeights([...opened.values()].map(({ cut }) => cut.model));
    await this.host.ask(
      { kind: 'weights', files },
      files.map(({ data }) => data.buffer),
    );
    for (const [name, one] of opened) {
      const bytes = encode(one.cut.model);
      const task = { kind: 'open', name, model: bytes, threads: this.threads } as const;
      await this.host.ask(task, [bytes.buffer]).catch((error: unknown) => {
        one.refusal = error instanceof Error ? error : new Error(String(error));
      });
    }
    await this.host.ask({ kind: 'drop' });
    return opened;
  }

  /**
   * Tries each program. One that cannot be computed in a batch whose size the model leaves open, or whose
   * images are not independent, is replaced by one of a batch of 1; says which.
   */
  async check(
    programs: Readonly<Record<string, RuntimeProgram>>,
    opened: Map<string, Opened>,
  ): Promise<string[]> {
    const notes: string[] = [];
    for (const [name, program] of Object.entries(programs)) {
      const many = opened.get(name);
      const problem = many && (await this.#problem(name, many));
      if (!problem) continue;
      if (many.batch === 1 || this.index.fixedBatch() !== undefined) throw refusal(name, problem);
      const one = (await this.open({ [name]: program }, 1)).get(name);
      const still = one && (await this.#problem(name, one));
      if (!one || still) throw refusal(name, still ?? problem);
      opened.set(name, one);
      const why =
        problem instanceof Error ? `it refuses a batch of ${String(many.batch)}` : problem;
      notes.push(`${name} computes one image at a time, since ${why}`);
    }
    return notes;
  }

  async #problem(name: string, opened: Opened): Promise<string | Error | undefined> {
    const { cut, batch } = opened;
    if (opened.refusal) return opened.refusal;
    const inputs = cut.inputs.map(({ dims, elementType }) => ({
      size: sizeOf(dims.slice(1)),
      top: isWhole(elementType) ? 255 : 1,
    }));
    return independence(inputs, batch, (data) => {
      const given = cut.inputs.map(({ given }, i) => [given, data[i] ?? new Float32Array(0)]);
      const feeds = feedsOf(opened, Object.fromEntries(given) as Arrays, 0, batch);
      return runBatch(this.host, name, opened, { feeds, outputs: cut.outputs });
    });
  }
}

function refusal(program: string, problem: string | Error): Error {
  if (problem instanceof Error) return problem;
  const what = 'values of an image that depend on it alone';
  return expected(what, `program ${program}`, 'values that change from run to run', {
    op: 'onnxruntime',
    code: 'E_ONNX',
    remedy: 'Dropout or batch normalisation is in training mode: export the model after eval().',
  });
}

/** One batch; the outputs' sizes are checked. */
async function runBatch(
  host: WorkerHost,
  program: string,
  { batch }: Opened,
  { feeds, outputs }: { feeds: Record<string, Values>; outputs: CutModel['outputs'] },
): Promise<Float32Array[]> {
  const fetch = [...new Set(outputs.map(({ name }) => name))];
  const moved = Object.values(feeds).map(({ data }) => data.buffer);
  const got = await host.ask({ kind: 'run', name: program, feeds, fetch }, moved);
  return outputs.map(({ name, given, dims }) => {
    const result = got[name];
    if (!result) throw backendError(`no output ${show(given)}`);
    if (result.dims[0] === batch && sizeOf(result.dims) === sizeOf(dims)) return result.data;
    throw new PartlensError(
      'E_SHAPE',
      `Expected ${showShape(dims)} for ${given} of program ${program} but received ${showShape(result.dims)}.`,
      { op: 'onnxruntime' },
    );
  });
}

/** Images `start` to `start + images` as the worker takes them, filled up to the batch. */
function feedsOf(
  { cut, batch }: Opened,
  inputs: Arrays,
  start: number,
  images: number,
): Record<string, Values> {
  const feeds = cut.inputs.map(({ name, given, dims, elementType }): [string, Values] => {
    const size = sizeOf(dims.slice(1));
    const data = new Float32Array(batch * size);
    data.set(inputs[given]?.subarray(start * size, (start + images) * size) ?? []);
    if (isWhole(elementType)) toWholeNumbers(data, elementType);
    return [name, { dims: [...dims], data }];
  });
  return Object.fromEntries(feeds);
}

function countImages({ cut }: Opened, program: string, inputs: Arrays): number {
  const known = new Map(cut.inputs.map((input) => [input.given, input]));
  for (const name of Object.keys(inputs)) lookUp(known, name, `input of ${program}`);
  const counts = cut.inputs.map(({ given, dims }) => {
    const data = inputs[given];
    const size = sizeOf(dims.slice(1));
    if (data instanceof Float32Array && data.length > 0 && data.length % size === 0) {
      return data.length / size;
    }
    const what = `a Float32Array of images of ${String(size)} values`;
    throw wrong(what, `${given} of program ${program}`, data, 'E_SHAPE');
  });
  const [count = 1] = counts;
  if (counts.every((one) => one === count)) return count;
  throw wrong('as many images for each input', `program ${program}`, counts, 'E_SHAPE');
}

function lookUp<T>(known: ReadonlyMap<string, T>, name: string, what: string): T {
  const found = known.get(name);
  if (found !== undefined) return found;
  throw wrong(`one of ${[...known.keys()].map(show).join(', ')}`, what, name);
}

function wrong(what: string, name: string, received: unknown, code?: 'E_SHAPE'): PartlensError {
  return expected(what, name, received, { op: 'onnxruntime', ...(code ? { code } : {}) });
}
