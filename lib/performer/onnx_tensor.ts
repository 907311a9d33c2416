import { show } from '../errors.js';
import { sizeOf, type Shape } from '../engine/tensor.js';
import { modelError } from './onnx_error.js';
import { DataType, type TensorProto } from './onnx_proto.js';

/**
 * A tensor known at load. Floats of any width become float32; integers and booleans are kept as
 * float64, exact up to 2^53 (shapes, axes, the `INT64_MAX` of an open slice).
 */
export type Constant =
  | { readonly kind: 'float'; readonly dims: Shape; readonly data: Float32Array }
  | {
      readonly kind: 'int';
      readonly dims: Shape;
      readonly data: Float64Array;
      /** `TensorProto.DataType`, where it is known: it bounds what quantised values can be. */
      readonly type?: number;
    };

type Decode = (bytes: DataView, count: number) => Float32Array | Float64Array;

interface ElementType {
  bytes: number;
  kind: Constant['kind'];
  raw: Decode;
}

const integers = (bytes: number, at: (view: DataView, offset: number) => number): ElementType => ({
  bytes,
  kind: 'int',
  raw: (view, count) => Float64Array.from({ length: count }, (_, i) => at(view, i * bytes)),
});

const floats = (bytes: number, at: (view: DataView, offset: number) => number): ElementType => ({
  bytes,
  kind: 'float',
  raw(view, count) {
    const data = new Float32Array(count);
    for (let i = 0; i < count; i++) data[i] = at(view, i * bytes);
    return data;
  },
});

const ELEMENTS: Readonly<Record<number, ElementType>> = {
  [DataType.FLOAT]: { bytes: 4, kind: 'float', raw: float32Of },
  [DataType.DOUBLE]: floats(8, (view, at) => view.getFloat64(at, true)),
  [DataType.FLOAT16]: floats(2, (view, at) => halfToFloat(view.getUint16(at, true))),
  [DataType.BFLOAT16]: floats(2, (view, at) => bfloatToFloat(view.getUint16(at, true))),
  [DataType.INT8]: integers(1, (view, at) => view.getInt8(at)),
  [DataType.UINT8]: integers(1, (view, at) => view.getUint8(at)),
  [DataType.BOOL]: integers(1, (view, at) => view.getUint8(at)),
  [DataType.INT16]: integers(2, (view, at) => view.getInt16(at, true)),
  [DataType.UINT16]: integers(2, (view, at) => view.getUint16(at, true)),
  [DataType.INT32]: integers(4, (view, at) => view.getInt32(at, true)),
  [DataType.UINT32]: integers(4, (view, at) => view.getUint32(at, true)),
  [DataType.INT64]: integers(8, (view, at) => Number(view.getBigInt64(at, true))),
  [DataType.UINT64]: integers(8, (view, at) => Number(view.getBigUint64(at, true))),
};

/** True for the element types that become float32. */
export function isFloatType(dataType: number): boolean {
  return ELEMENTS[dataType]?.kind === 'float';
}

/**
 * Decodes a tensor. A dims list that is negative or holds 2^31 elements or more, data of another
 * length and element types without numbers throw `E_ONNX` before anything is allocated. External
 * data must have been read before (`inlineExternalData`).
 */
export function readTensor(tensor: TensorProto, name = tensor.name): Constant {
  const dims = tensorDims(tensor, name);
  const count = sizeOf(dims);
  const element = elementOf(tensor, name);
  const bytes = tensor.rawData;
  if (bytes.length === 0)
    return constant(element.kind, dims, typedData(tensor, name, count), tensor.dataType);
  if (bytes.length !== count * element.bytes) throw lengthError(name, dims, bytes.length, 'bytes');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return constant(element.kind, dims, element.raw(view, count), tensor.dataType);
}

/** Bytes that the elements of a tensor need; the same checks as `readTensor`. */
export function tensorLength(tensor: TensorProto, name = tensor.name): number {
  return sizeOf(tensorDims(tensor, name)) * elementOf(tensor, name).bytes;
}

/** Elements that a tensor's data holds (bytes where it is raw), whatever its dims say. */
export function storedLength(tensor: TensorProto): number {
  const { rawData, floatData, doubleData, int32Data, int64Data, uint64Data } = tensor;
  const typed = [floatData, doubleData, int32Data, int64Data, uint64Data];
  return typed.reduce((sum, data) => sum + data.length, rawData.length);
}

/** An integer constant, for shapes and axes. */
export function intConstant(values: readonly number[], dims: Shape = [values.length]): Constant {
  return { kind: 'int', dims, data: Float64Array.from(values) };
}

/** Pairs data with its dims; `type` is kept for integers. */
export function constant(
  kind: Constant['kind'],
  dims: Shape,
  data: ArrayLike<number>,
  type?: number,
): Constant {
  if (kind === 'float') {
    return { kind, dims, data: data instanceof Float32Array ? data : Float32Array.from(data) };
  }
  const whole = data instanceof Float64Array ? data : Float64Array.from(data);
  return type === undefined ? { kind, dims, data: whole } : { kind, dims, data: whole, type };
}

function elementOf(tensor: TensorProto, name: string): ElementType {
  const element = ELEMENTS[tensor.dataType];
  if (element) return element;
  const received = `type ${String(tensor.dataType)}`;
  throw modelError('a numeric element type', `tensor ${show(name)}`, received);
}

function tensorDims(tensor: TensorProto, name: string): number[] {
  const dims = tensor.dims.map(Number);
  if (dims.some((size) => size < 0) || sizeOf(dims) >= 2 ** 31) {
    throw modelError('sizes >= 0 and fewer than 2^31 elements', `tensor ${show(name)}`, dims);
  }
  return dims;
}

function typedData(tensor: TensorProto, name: string, count: number): ArrayLike<number> {
  const { FLOAT, DOUBLE, INT64, UINT32, UINT64, FLOAT16, BFLOAT16 } = DataType;
  const field = (): readonly (number | bigint)[] => {
    switch (tensor.dataType) {
      case FLOAT:
        return tensor.floatData;
      case DOUBLE:
        return tensor.doubleData;
      case INT64:
        return tensor.int64Data;
      case UINT32:
      case UINT64:
        return tensor.uint64Data;
      default:
        return tensor.int32Data;
    }
  };
  const data = field();
  if (data.length !== count)
    throw lengthError(name, tensorDims(tensor, name), data.length, 'values');
  if (tensor.dataType === FLOAT16) return data.map((bits) => halfToFloat(Number(bits)));
  if (tensor.dataType === BFLOAT16) return data.map((bits) => bfloatToFloat(Number(bits)));
  return data.map(Number);
}

function lengthError(name: string, dims: Shape, received: number, unit: string): Error {
  return modelError(
    `data for (${dims.join(', ')})`,
    `tensor ${show(name)}`,
    `${String(received)} ${unit}`,
  );
}

function float32Of(view: DataView, count: number): Float32Array {
  if (view.byteOffset % 4 === 0) return new Float32Array(view.buffer, view.byteOffset, count);
  return new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + 4 * count));
}

const scratch = new DataView(new ArrayBuffer(4));

function bfloatToFloat(bits: number): number {
  scratch.setUint32(0, (bits & 0xffff) * 0x10000);
  return scratch.getFloat32(0);
}

function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
