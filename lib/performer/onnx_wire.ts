import { fromBinary, type DescMessage } from '@bufbuild/protobuf';
import { PartlensError } from '../errors.js';
import { modelError } from './onnx_error.js';
import { ModelSchema, type ModelProto } from './onnx_proto.js';

/** Records of the wire format that a model may hold: each costs about 150 bytes when decoded. */
const MAX_RECORDS = 2_000_000;

/** Messages inside each other: a graph in a node's attribute is three, and If in If is rare. */
const MAX_DEPTH = 60;

/** Decodes a model. Tensors are views of `bytes`. Throws `E_ONNX` for anything but a whole model. */
export function decodeModel(bytes: Uint8Array, name: string): ModelProto {
  let model: ModelProto;
  try {
    new WireCheck(bytes).message(ModelSchema, 0, bytes.length);
    model = fromBinary(ModelSchema, bytes);
  } catch (cause) {
    if (cause instanceof PartlensError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw modelError('an ONNX model', name, `${String(bytes.length)} bytes: ${why}`, {
      remedy: 'The file is truncated or is no ONNX file.',
      cause,
    });
  }
  if (!model.graph || model.graph.node.length === 0) {
    throw modelError('an ONNX model with a graph of at least one node', name, 'a model without');
  }
  return model;
}

/**
 * Walks the wire format before it is decoded: every length must end inside its message, and the
 * number of records is bounded, so that a small file cannot ask for gigabytes.
 */
class WireCheck {
  #position = 0;
  #records = 0;
  #depth = 0;

  constructor(readonly bytes: Uint8Array) {}

  message(schema: DescMessage, start: number, end: number): void {
    this.#position = start;
    if (++this.#depth > MAX_DEPTH) {
      throw new Error(`more than ${String(MAX_DEPTH)} messages inside each other`);
    }
    while (this.#position < end) {
      const tag = this.#varint(end);
      const field = schema.fields.find((one) => one.number === Math.floor(tag / 8));
      const listed = field?.fieldKind === 'list' && field.listKind === 'scalar';
      if (!listed) this.#records += 1;
      if (this.#records > MAX_RECORDS) {
        throw new Error(`more than ${String(MAX_RECORDS)} records`);
      }
      this.#record(tag % 8, end, field?.message);
    }
    this.#depth -= 1;
  }

  #record(wireType: number, end: number, schema: DescMessage | undefined): void {
    if (wireType === 0) this.#varint(end);
    else if (wireType === 1) this.#skip(8, end);
    else if (wireType === 5) this.#skip(4, end);
    else if (wireType === 2) {
      const length = this.#varint(end);
      const start = this.#position;
      this.#skip(length, end);
      if (!schema) return;
      this.message(schema, start, start + length);
      this.#position = start + length;
    } else throw new Error(`wire type ${String(wireType)} at byte ${String(this.#position)}`);
    if (schema && wireType !== 2) throw new Error(`a message of wire type ${String(wireType)}`);
  }

  #skip(length: number, end: number): void {
    if (length > end - this.#position) {
      throw new Error(
        `${String(length)} bytes promised at byte ${String(this.#position)}, ` +
          `${String(end - this.#position)} left`,
      );
    }
    this.#position += length;
  }

  #varint(end: number): number {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      if (this.#position >= end) throw new Error(`the end inside a number at byte ${String(end)}`);
      const byte = this.bytes[this.#position++] ?? 0;
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) return value;
    }
    throw new Error(`a number of more than 10 bytes at byte ${String(this.#position)}`);
  }
}
