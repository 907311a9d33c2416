import type { NodeRef } from './onnx_error.js';
import type { AttributeProto, ModelProto, TensorProto } from './onnx_proto.js';

/** A node with its attributes by name. */
export interface OnnxNode extends NodeRef {
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, AttributeProto>;
  /** Of an If; its inputs are the condition and what the branches read from outside. */
  readonly branches?: { readonly then: OnnxBranch; readonly else: OnnxBranch };
}

/** One side of an If; names are unique in the model, stored tensors lie with the model's. */
export interface OnnxBranch {
  readonly nodes: readonly OnnxNode[];
  readonly outputs: readonly string[];
}

/** A dimension: its size, or undefined where the model leaves it open (`'N'`, -1, missing). */
export type Dimension = number | undefined;

export interface OnnxInput {
  readonly name: string;
  /** `TensorProto.DataType`, 0 if the model does not say. */
  readonly elementType: number;
  /** Undefined if the model declares no shape. */
  readonly dims: readonly Dimension[] | undefined;
}

/**
 * A decoded and checked ONNX file: names are unique, tensors decodable, external data and functions
 * inlined, spellings of one thing made the same (`normalise`).
 */
export interface OnnxModel {
  /** Where it came from, for messages. */
  readonly path: string;
  readonly opset: number;
  /** Graph inputs that are no initializers. */
  readonly inputs: readonly OnnxInput[];
  readonly outputs: readonly string[];
  /** In the order of the file; functions are inlined. */
  readonly nodes: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, TensorProto>;
  /** sha256 (hex) of the model's bytes, followed by the bytes of its external tensors. */
  readonly fingerprint: string;
  /** What a user should know of how the model is read, in sentences. */
  readonly notes: readonly string[];
  /** The file as it was decoded, external data read. */
  readonly proto: ModelProto;
}
