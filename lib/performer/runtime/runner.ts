import type { SessionInfo } from '../../engine/session.js';
import type { TensorData } from '../../engine/tensor.js';

/** What a runner tells of itself. */
export type RunnerInfo = SessionInfo | OnnxRuntimeInfo;

export interface OnnxRuntimeInfo {
  backend: 'onnxruntime';
  /** Why this one. */
  reason: string;
  /** CPU threads; 0 where the runtime chooses. */
  threads: number;
}

/** Computes named programs of one model; the native session and onnxruntime both fit it. */
export interface Runner {
  /**
   * Runs one program on row-major float32 values, maps as (N, C, H, W), and resolves with fresh arrays of
   * the fetched outputs.
   */
  run(
    program: string,
    given: { inputs: Record<string, Float32Array>; fetch: readonly string[] },
  ): Promise<Record<string, TensorData>>;
  info(): RunnerInfo;
  /** Frees the memory; a later call is `E_STATE`. Safe to call twice. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** A value of an ONNX model as a program's input or output. */
export interface TensorRef {
  /** What the program calls it: `x`, `layer`, `output`. */
  readonly name: string;
  /** What the model calls it. */
  readonly tensor: string;
  /** Sizes for one image, in the model's order, without the batch (which is the first axis). */
  readonly dims: readonly number[];
  /**
   * For tensors in another order than (C, H, W): axis i of the values that cross the runner is axis
   * `permutation[i]` of `dims`. Channels last, `dims` (H, W, C), is `[2, 0, 1]`.
   */
  readonly permutation?: readonly number[];
}

/** A part of a model: what it is computed from, and what is wanted. */
export interface RuntimeProgram {
  readonly inputs: readonly TensorRef[];
  readonly outputs: readonly TensorRef[];
}
