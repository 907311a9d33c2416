import {
  ACCURACIES,
  loadBinding,
  nativeError,
  PRECISIONS,
  wrapped,
  type Accuracy,
  type Backend,
  type NativeSession,
  type Precision,
} from './binding.js';
import { expected, PartlensError } from '../errors.js';
import { registry, type Graph } from './graph.js';
import type { ValueType } from './tensor.js';
import { encodeProgram, planPrograms, type Plan, type Program } from './plan.js';
import { checkData, sizeOf, type TensorData } from './tensor.js';

/** `auto` takes CUDA where there is a device and says why not where there is none. */
export type BackendChoice = 'auto' | 'cpu' | 'cuda';

/** Where and how exactly to compute. */
export interface DeviceOptions {
  /** Default `auto`. */
  backend?: BackendChoice | undefined;
  /** CPU threads, default all that the machine allows. */
  threads?: number | undefined;
  /**
   * Of matrix products on CUDA, default `tf32` (relative error about 3e-4); `fp32` about 1e-6, `bf16`
   * about 3e-3. Weights and sums are float32 with each; the CPU computes float32.
   */
  precision?: Precision | undefined;
  /**
   * Of 3x3 convolutions with stride 1 on the CPU, default `fast`: Winograd F(4x4, 3x3), largest error
   * about 3e-6 of the largest value at 256 channels. `high`: F(2x2, 3x3), about 8e-7; `direct`: no
   * transform, about 7e-7. No effect on CUDA, which has no transform.
   */
  accuracy?: Accuracy | undefined;
}

/** The device options in an object that may hold more. */
export function deviceOptions(options: DeviceOptions): DeviceOptions {
  const { backend, threads, precision, accuracy } = options;
  return { backend, threads, precision, accuracy };
}

export interface SessionOptions extends DeviceOptions {
  /** Programs of the session by name; they share parameters and states by name. */
  programs: Record<string, Graph>;
}

export interface SessionInfo {
  backend: Backend;
  precision: Precision;
  accuracy: Accuracy;
  /** Why `auto` took that backend; empty when it was asked for. */
  reason: string;
  isa: string;
  threads: number;
  /** Planned memory: parameters, states, activations of the largest program. */
  arenaBytes: number;
  /** Workspace of the kernels beside it, so far. */
  scratchBytes: number;
}

export interface KernelTime {
  kernel: string;
  nanoseconds: number;
}

type Arrays = Record<string, TensorData>;

/**
 * Owns the memory and the compiled programs of one model on one device. Runs queue in order; each is
 * one call into native code and one promise. Values are row-major (NCHW, OIHW, (out, in)).
 */
export class Session {
  readonly backend: Backend;
  readonly reason: string;
  readonly #native: NativeSession;
  readonly #plan: Plan;
  readonly #ids = new Map<string, number>();

  /** @internal Use `createSession`. */
  constructor(native: NativeSession, plan: Plan, choice: { backend: Backend; reason: string }) {
    this.#native = native;
    this.#plan = plan;
    this.backend = choice.backend;
    this.reason = choice.reason;
    const kernels = loadBinding().kernelIndex(choice.backend, registry);
    for (const [name, program] of plan.programs) {
      const words = encodeProgram(program, kernels);
      this.#ids.set(
        name,
        wrapped(() => native.addProgram(words)),
      );
    }
  }

  /**
   * Runs one program: copies the inputs (all of the graph's, by name), runs its ops and resolves with
   * fresh arrays of the fetched outputs. Throws `E_ARGUMENT` for unknown names, `E_SHAPE`, `E_DTYPE`.
   */
  async run(
    name: string,
    { inputs = {}, fetch = [] }: { inputs?: Arrays; fetch?: readonly string[] } = {},
  ): Promise<Arrays> {
    const program = this.#program(name);
    const missing = [...program.inputs.keys()].find((input) => !inputs[input]);
    if (missing !== undefined) throw expected(`input ${missing}`, name, 'nothing', { op: 'run' });
    const given = Object.entries(inputs).map(([input, data]) => {
      const slot = lookUp(program.inputs, input, 'input', name);
      return { slot, data: checked(program, slot, data, input) };
    });
    const wanted = fetch.map((output) => lookUp(program.outputs, output, 'output', name));
    const results = await settled(() =>
      this.#native.run(
        this.#id(name),
        Int32Array.from(given.map(({ slot }) => slot)),
        given.map(({ data }) => data),
        Int32Array.from(wanted),
      ),
    );
    return zip(fetch, results);
  }

  /** Sets parameters, states and frozen tensors by name, row-major: copies them at the call, all or none. */
  async write(values: Arrays): Promise<void> {
    const groups = [...this.#group(Object.keys(values))].map(([name, found]) => {
      const program = this.#program(name);
      const data = found.map(({ key, slot }) => checked(program, slot, values[key], key));
      return { id: this.#id(name), slots: Int32Array.from(found.map(({ slot }) => slot)), data };
    });
    await settled(() =>
      Promise.all(groups.map(({ id, slots, data }) => this.#native.upload(id, slots, data))),
    );
  }

  /** Reads parameters and states by name into fresh row-major arrays, all of one moment. */
  async read(names: readonly string[]): Promise<Arrays> {
    const groups = [...this.#group(names)];
    const results = await settled(() =>
      Promise.all(
        groups.map(([name, found]) =>
          this.#native.download(this.#id(name), Int32Array.from(found.map(({ slot }) => slot))),
        ),
      ),
    );
    const keys = groups.flatMap(([, found]) => found.map(({ key }) => key));
    return zip(keys, results.flat());
  }

  /** Types of what the session keeps of some kinds, by name: default what a training changes. */
  persistent(
    kinds: readonly ('parameter' | 'state' | 'frozen')[] = ['parameter', 'state'],
  ): Map<string, ValueType> {
    const found = new Map<string, ValueType>();
    for (const program of this.#plan.programs.values()) {
      for (const [name, { slot, node }] of program.persistent) {
        const type = program.slots[slot];
        if (type && (kinds as readonly string[]).includes(node.kind)) found.set(name, type);
      }
    }
    return found;
  }

  /** Time of each kernel call of a program's last run, in order. */
  profile(name: string): KernelTime[] {
    const { ops } = this.#program(name);
    const times = wrapped(() => this.#native.profile(this.#id(name)));
    return ops.map(({ kernel }, i) => ({ kernel, nanoseconds: times[i] ?? 0 }));
  }

  /** The compiled program: plain data, to print or compare. */
  program(name: string): Program {
    return this.#program(name);
  }

  info(): SessionInfo {
    const native = wrapped(() => this.#native.info());
    const { isa, precision, accuracy, threads, scratchBytes } = native;
    const { backend, reason } = this;
    const { arenaBytes } = this.#plan;
    return { backend, reason, isa, precision, accuracy, threads, arenaBytes, scratchBytes };
  }

  /** Frees the memory; a later call is `E_STATE`. Safe to call twice. */
  dispose(): void {
    this.#native.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #program(name: string): Program {
    const program = this.#plan.programs.get(name);
    if (program) return program;
    throw expected(`one of ${[...this.#plan.programs.keys()].join(', ')}`, 'program', name);
  }

  #id(name: string): number {
    return this.#ids.get(name) ?? -1;
  }

  /** Names by the first program that knows them. */
  #group(names: readonly string[]): Map<string, { key: string; slot: number }[]> {
    const groups = new Map<string, { key: string; slot: number }[]>();
    for (const key of names) {
      const home = [...this.#plan.programs].find(([, program]) => program.persistent.has(key));
      const slot = home?.[1].persistent.get(key)?.slot;
      if (!home || slot === undefined) {
        throw expected('a parameter, state or frozen tensor of the session', 'name', key);
      }
      groups.set(home[0], [...(groups.get(home[0]) ?? []), { key, slot }]);
    }
    return groups;
  }
}

/**
 * Compiles graphs, reserves their memory and fills states with their initial value (parameters too:
 * give them values with `write`). Throws `E_BACKEND`, `E_CUDA`, `E_MEMORY`.
 */
export async function createSession(options: SessionOptions): Promise<Session> {
  const { programs, backend = 'auto', threads = 0 } = options;
  const { precision = 'tf32', accuracy = 'fast' } = options;
  if (!Number.isInteger(threads) || threads < 0) {
    throw expected('an integer >= 1, or 0 for all', 'threads', threads, { op: 'createSession' });
  }
  const exact = {
    precision: oneOf('precision', precision, PRECISIONS),
    accuracy: oneOf('accuracy', accuracy, ACCURACIES),
  };
  const binding = loadBinding();
  const choice = binding.chooseBackend(backend);
  const plan = planPrograms(
    new Map(Object.entries(programs)),
    (type) => binding.bytesOf(choice.backend, type),
    { pictures: choice.backend === 'cpu' },
  );
  const native = binding.createSession({
    backend: choice.backend,
    threads,
    arenaBytes: plan.arenaBytes,
    precision: choice.backend === 'cpu' ? 'fp32' : exact.precision,
    accuracy: exact.accuracy,
  });
  const session = new Session(native, plan, choice);
  await fill(session, native, plan);
  return session;
}

/** An option that is one of a few words. */
function oneOf<T extends string>(name: string, value: T, known: readonly T[]): T {
  if (known.includes(value)) return value;
  const words = `${known.slice(0, -1).join(', ')} or ${known.at(-1) ?? ''}`;
  throw expected(words, name, value, { op: 'createSession' });
}

/** Writes the initial value of every constant, state and parameter that is not 0. */
async function fill(session: Session, native: NativeSession, plan: Plan): Promise<void> {
  let id = 0;
  for (const program of plan.programs.values()) {
    const filled = [...program.persistent.values()].filter(({ node }) => node.fill !== 0);
    const data = filled.map(({ slot }) => {
      const type = program.slots[slot];
      if (!type) throw new PartlensError('E_INTERNAL', `no slot ${String(slot)}`);
      return type;
    });
    const arrays = filled.map(({ node }, i) => {
      const length = sizeOf(data[i]?.shape ?? []);
      const array = data[i]?.dtype === 'i32' ? new Int32Array(length) : new Float32Array(length);
      return array.fill(node.fill);
    });
    const slots = Int32Array.from(filled.map(({ slot }) => slot));
    const programId = id++;
    await settled(() => native.upload(programId, slots, arrays));
  }
}

/** Awaits a native call; its errors get a code and the stack of the caller. */
async function settled<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw nativeError(error);
  }
}

function lookUp(
  names: ReadonlyMap<string, number>,
  name: string,
  what: string,
  program: string,
): number {
  const slot = names.get(name);
  if (slot !== undefined) return slot;
  throw expected(`one of ${[...names.keys()].join(', ')}`, `${what} of ${program}`, name);
}

function checked(
  program: Program,
  slot: number,
  data: TensorData | undefined,
  name: string,
): TensorData {
  const type = program.slots[slot];
  if (!type || !data) throw expected('values', name, data);
  checkData(data, type.shape, type.dtype, name);
  return data;
}

function zip(names: readonly string[], arrays: readonly TensorData[]): Arrays {
  const result: Arrays = {};
  names.forEach((name, i) => {
    const array = arrays[i];
    if (array) result[name] = array;
  });
  return result;
}
