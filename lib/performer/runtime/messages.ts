/** A file of weights in memory that a model names as external data. */
export interface WeightFile {
  path: string;
  data: Uint8Array<ArrayBuffer>;
}

/** Values of a float32 tensor, row-major. */
export interface Values {
  dims: number[];
  data: Float32Array<ArrayBuffer>;
}

/** What the main thread asks of the worker, one at a time; each gets one reply of the same id. */
export type Task =
  /** Weights for the models to come; they are dropped with `drop`. */
  | { kind: 'weights'; files: WeightFile[] }
  | { kind: 'drop' }
  /** A session under a name. */
  | { kind: 'open'; name: string; model: Uint8Array<ArrayBuffer>; threads: number }
  /** Element types of a model's outputs, in onnxruntime's words; undefined where it is no tensor. */
  | { kind: 'types'; model: Uint8Array<ArrayBuffer> }
  /** Runs a session; its outputs are float32. */
  | { kind: 'run'; name: string; feeds: Record<string, Values>; fetch: string[] }
  /** Runs a model once; its outputs are lists of int64. */
  | { kind: 'shapes'; model: Uint8Array<ArrayBuffer>; feeds: Record<string, Values> };

export interface Replies {
  weights: undefined;
  drop: undefined;
  open: undefined;
  types: Record<string, string | undefined>;
  run: Record<string, Values>;
  shapes: Record<string, number[]>;
}

export type Request = { id: number; task: Task } | 'close';

export type Reply =
  | { id: number; value: Replies[keyof Replies] }
  /** `missing`: onnxruntime-node cannot be loaded. */
  | { id: number; error: string; missing: boolean };
