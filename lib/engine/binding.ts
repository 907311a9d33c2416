import { expected, PartlensError, type ErrorCode } from '../errors.js';
import { findCudaLibrary, loadAddon } from './addon.js';
import type { OpDefinition } from './graph.js';
import { LAYOUTS, type ValueType } from './tensor.js';
import type { KernelIndex } from './plan.js';
import type { TensorData } from './tensor.js';

/** A session in native code, as `native/session_wrap.cpp` defines it. */
export interface NativeSession {
  addProgram(words: Int32Array): number;
  run(
    program: number,
    inputSlots: Int32Array,
    inputs: readonly TensorData[],
    fetchSlots: Int32Array,
  ): Promise<TensorData[]>;
  upload(program: number, slots: Int32Array, values: readonly TensorData[]): Promise<unknown>;
  download(program: number, slots: Int32Array): Promise<TensorData[]>;
  profile(program: number): Float64Array;
  info(): {
    backend: string;
    isa: string;
    precision: Precision;
    accuracy: Accuracy;
    threads: number;
    arenaBytes: number;
    scratchBytes: number;
  };
  dispose(): void;
}

/** One backend and whether it can be used here. */
export interface DeviceInfo {
  backend: 'cpu' | 'cuda';
  available: boolean;
  /** Why it cannot be used; empty when it can. */
  reason: string;
  /** Instruction set or architecture of its kernels. */
  isa: string;
  /** Name of the graphics card. */
  name?: string;
  threads?: number;
  /** Memory that this process may use, or of the graphics card. */
  memoryBytes?: number;
}

interface KernelDescription {
  name: string;
  /** `(x, w, b)` */
  inputs: string;
  outputs: string;
  attrs: string;
}

interface Addon {
  /** Where the CUDA library lies; before the first call of the others. */
  cudaLibrary(path: string): void;
  describe(backend: string): {
    version: number;
    kernels: KernelDescription[];
    /** Name -> `i32 stride_h;f32 ...;` */
    attrs: Record<string, string>;
  };
  devices(): DeviceInfo[];
  bytesOf(backend: string, type: Int32Array): number;
  createSession(
    backend: string,
    threads: number,
    arenaBytes: number,
    precision: string,
    accuracy: string,
  ): NativeSession;
  lockFile(path: string, told: string): (() => void) | undefined;
}

export type Backend = 'cpu' | 'cuda';
export const PRECISIONS = ['fp32', 'tf32', 'bf16'] as const;
export type Precision = (typeof PRECISIONS)[number];
export const ACCURACIES = ['fast', 'high', 'direct'] as const;
export type Accuracy = (typeof ACCURACIES)[number];

/** The addon behind typed calls that throw `PartlensError`. */
export class Binding {
  readonly #addon: Addon;
  readonly #checked = new Map<string, KernelIndex>();

  /** @internal Use `loadBinding`. */
  constructor(addon: Addon) {
    this.#addon = addon;
  }

  devices(): DeviceInfo[] {
    return wrapped(() => this.#addon.devices());
  }

  /** The backend for a choice, and why. Throws `E_CUDA`, `E_BACKEND` when it was asked for by name. */
  chooseBackend(choice: string): { backend: Backend; reason: string } {
    const cuda = this.devices().find(({ backend }) => backend === 'cuda');
    if (choice === 'cpu') return { backend: 'cpu', reason: '' };
    if (choice !== 'auto' && choice !== 'cuda') {
      throw expected('auto, cpu or cuda', 'backend', choice, { op: 'createSession' });
    }
    if (cuda?.available) return { backend: 'cuda', reason: '' };
    const reason = cuda?.reason ?? 'this build knows no CUDA';
    if (choice === 'auto') return { backend: 'cpu', reason };
    throw new PartlensError(
      'E_CUDA',
      `The CUDA backend is not available: ${reason}.\nUse --backend cpu, or auto to take what there is.`,
    );
  }

  bytesOf(backend: Backend, { dtype, layout, shape, chw }: ValueType): number {
    const dims = [0, 1, 2, 3].map((axis) => shape[axis] ?? 1);
    const words = [dtype === 'f32' ? 0 : 1, LAYOUTS.indexOf(layout), shape.length];
    const type = Int32Array.from([...words, ...dims, ...(chw ?? [0, 0, 0])]);
    return wrapped(() => this.#addon.bytesOf(backend, type));
  }

  createSession(options: {
    backend: Backend;
    threads: number;
    arenaBytes: number;
    precision?: Precision;
    accuracy?: Accuracy;
  }): NativeSession {
    const { backend, threads, arenaBytes, precision = 'fp32', accuracy = 'fast' } = options;
    return wrapped(() =>
      this.#addon.createSession(backend, threads, arenaBytes, precision, accuracy),
    );
  }

  /**
   * Takes the lock of a file, made where there is none and holding `told`: returns what gives it back,
   * or undefined where another holds it. Throws `E_FILE`, with `details.refused` 1 where the file system
   * knows no locks.
   */
  lockFile(path: string, told: string): (() => void) | undefined {
    return wrapped(() => this.#addon.lockFile(path, told));
  }

  /** Numbers of the kernels of a backend, checked once against the ops defined in TypeScript. */
  kernelIndex(backend: Backend, ops: ReadonlyMap<string, OpDefinition>): KernelIndex {
    const known = this.#checked.get(backend);
    if (known) return known;
    const { kernels, attrs } = wrapped(() => this.#addon.describe(backend));
    checkKernels(kernels, attrs, ops);
    const numbers = new Map(kernels.map(({ name }, index) => [name, index]));
    const index: KernelIndex = (name) => {
      const found = numbers.get(name);
      if (found !== undefined) return found;
      throw new PartlensError('E_INTERNAL', `Backend ${backend} has no kernel ${name}.`);
    };
    this.#checked.set(backend, index);
    return index;
  }
}

/** Compares names, arguments and attributes of both sides. Throws `E_INTERNAL` on a difference. */
export function checkKernels(
  kernels: readonly KernelDescription[],
  attrs: Readonly<Record<string, string>>,
  ops: ReadonlyMap<string, OpDefinition>,
): void {
  const native = new Map(kernels.map((kernel) => [kernel.name, kernel]));
  for (const op of ops.values()) {
    const kernel = native.get(op.name);
    const declared = Object.entries(op.attrs).map(([name, type]) => `${type} ${name};`);
    const want = [names(op.inputs), names(op.outputs), declared.join('') || 'i32 none;'];
    const have = kernel && [kernel.inputs, kernel.outputs, attrs[kernel.attrs]];
    if (have?.join(' ') === want.join(' ')) continue;
    throw new PartlensError(
      'E_INTERNAL',
      `The addon does not fit lib/: kernel ${op.name} is ${have?.join(' ') ?? 'missing'} there and ` +
        `${want.join(' ')} here.\nBuild or install it anew.`,
    );
  }
}

function names(signature: Readonly<Record<string, string>>): string {
  return `(${Object.keys(signature).join(', ')})`;
}

/** Turns an error of the addon into a `PartlensError` with the caller's stack. */
export function nativeError(error: unknown): unknown {
  if (error instanceof PartlensError || !(error instanceof Error)) return error;
  const { code, details } = error as { code?: unknown; details?: Record<string, number> };
  if (typeof code !== 'string' || !code.startsWith('E_')) return error;
  return new PartlensError(code as ErrorCode, error.message, {
    details: details ?? {},
    cause: error,
  });
}

/** Calls the addon; its errors become `PartlensError`. */
export function wrapped<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw nativeError(error);
  }
}

let loaded: Binding | undefined;

/**
 * Loads the addon once, at the first use of what needs it. Throws `E_BACKEND` with the package to install
 * where there is none or it does not fit this machine.
 */
export function loadBinding(): Binding {
  if (loaded) return loaded;
  const addon = loadAddon() as Addon;
  const library = findCudaLibrary();
  if (library !== undefined) addon.cudaLibrary(library);
  loaded = new Binding(addon);
  return loaded;
}
