import { PartlensError } from '../errors.js';

/** Element types, with their bytes and the typed array that holds the raw elements. */
export const ELEMENTS = {
  F64: { bytes: 8, array: Float64Array },
  I64: { bytes: 8, array: BigInt64Array },
  U64: { bytes: 8, array: BigUint64Array },
  F32: { bytes: 4, array: Float32Array },
  I32: { bytes: 4, array: Int32Array },
  U32: { bytes: 4, array: Uint32Array },
  F16: { bytes: 2, array: Uint16Array },
  BF16: { bytes: 2, array: Uint16Array },
  I16: { bytes: 2, array: Int16Array },
  U16: { bytes: 2, array: Uint16Array },
  I8: { bytes: 1, array: Int8Array },
  U8: { bytes: 1, array: Uint8Array },
  BOOL: { bytes: 1, array: Uint8Array },
} as const;

/** Name of an element type in a safetensors file. */
export type ElementType = keyof typeof ELEMENTS;
/** The raw elements of any tensor; 16-bit floats come as the `Uint16Array` of their bits. */
export type ElementArray =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/** Where a tensor lies in the data section of a file, in bytes. */
export interface TensorEntry {
  dtype: ElementType;
  shape: readonly number[];
  begin: number;
  end: number;
}

export interface SafetensorsHeader {
  tensors: ReadonlyMap<string, TensorEntry>;
  metadata: Record<string, string>;
}

/** The limit of the format's own library. */
export const MAX_HEADER_BYTES = 100_000_000;
const METADATA = '__metadata__';

/** Bytes of one element. */
export function bytesPerElement(dtype: ElementType): number {
  return ELEMENTS[dtype].bytes;
}

/** Bytes of one row: everything behind the outermost axis. */
export function rowBytes({ dtype, shape }: Pick<TensorEntry, 'dtype' | 'shape'>): number {
  return shape.slice(1).reduce((product, size) => product * size, bytesPerElement(dtype));
}

/**
 * Parses the header's JSON and checks it as if an enemy had written it: known types, sizes that are
 * integers and fit, no name twice, no overlap, no hole, nothing beyond the `dataBytes` of the file.
 * Throws `E_FILE`.
 */
export function parseHeader(text: Uint8Array, dataBytes: number, path: string): SafetensorsHeader {
  const json = parseJson(text, path);
  const tensors = new Map<string, TensorEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === METADATA) metadata = parseMetadata(value, path);
    else tensors.set(name, parseEntry(name, value, path));
  }
  checkLayout(tensors, dataBytes, path);
  return { tensors, metadata };
}

/** The header with its length in front, padded with spaces to a multiple of 8, or to `total` bytes. */
export function encodeHeader({ tensors, metadata }: SafetensorsHeader, total = 0): Uint8Array {
  const entries = [...tensors].map(([name, { dtype, shape, begin, end }]) => [
    name,
    { dtype, shape, data_offsets: [begin, end] },
  ]);
  const head = Object.keys(metadata).length > 0 ? [[METADATA, metadata]] : [];
  const text = new TextEncoder().encode(
    JSON.stringify(Object.fromEntries([...head, ...entries] as [string, unknown][])),
  );
  const bytes = new Uint8Array(Math.max(8 + Math.ceil(text.length / 8) * 8, total)).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(text, 8);
  return bytes;
}

/**
 * Places tensors one behind the other, wide elements first so that each is aligned. Throws
 * `E_ARGUMENT` for names or shapes that the format does not allow.
 */
export function layOut(
  tensors: Readonly<Record<string, { dtype: ElementType; shape: readonly number[] }>>,
): Map<string, TensorEntry> {
  const sorted = Object.entries(tensors).sort(
    ([, a], [, b]) => bytesPerElement(b.dtype) - bytesPerElement(a.dtype),
  );
  const placed = new Map<string, TensorEntry>();
  let begin = 0;
  for (const [name, { dtype, shape }] of sorted) {
    const length = tensorBytes(dtype, shape);
    if (name === METADATA || !Number.isSafeInteger(begin + length)) {
      throw new PartlensError('E_ARGUMENT', `No tensor can have the name ${name} and this size.`);
    }
    placed.set(name, { dtype, shape: [...shape], begin, end: begin + length });
    begin += length;
  }
  return placed;
}

/** NaN for a shape that is none. */
function tensorBytes(dtype: ElementType, shape: readonly number[]): number {
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) return NaN;
  return shape.reduce((product, size) => product * size, bytesPerElement(dtype));
}

function parseJson(bytes: Uint8Array, path: string): Record<string, unknown> {
  let json: unknown;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    json = JSON.parse(text);
  } catch (cause) {
    throw damaged(path, 'its header is no JSON text', cause);
  }
  if (!isRecord(json) || bytes[0] !== 0x7b) throw damaged(path, 'its header is no JSON object');
  const twice = repeatedKey(text);
  if (twice !== undefined) throw damaged(path, `its header names ${JSON.stringify(twice)} twice`);
  return json;
}

/** `JSON.parse` silently takes the last of equal keys; finds the first repeated one in valid JSON. */
function repeatedKey(text: string): string | undefined {
  const objects: (Set<string> | undefined)[] = [];
  const colon = /\s*:/y;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '{') objects.push(new Set());
    else if (character === '[') objects.push(undefined);
    else if (character === '}' || character === ']') objects.pop();
    else if (character === '"') {
      const start = i++;
      while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
      const keys = objects.at(-1);
      colon.lastIndex = i + 1;
      if (!keys || !colon.test(text)) continue;
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}

function parseMetadata(value: unknown, path: string): Record<string, string> {
  if (isRecord(value) && Object.values(value).every((text) => typeof text === 'string')) {
    return value as Record<string, string>;
  }
  throw damaged(path, 'its metadata is no object of strings');
}

function parseEntry(name: string, value: unknown, path: string): TensorEntry {
  const bad = (what: string): PartlensError => damaged(path, `${what} of ${JSON.stringify(name)}`);
  if (!isRecord(value)) throw bad('the entry');
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(ELEMENTS, dtype)) throw bad('unknown dtype');
  if (!isSizes(shape)) throw bad('wrong shape');
  if (!isSizes(offsets) || offsets.length !== 2) throw bad('wrong data_offsets');
  const [begin = 0, end = 0] = offsets;
  const type = dtype as ElementType;
  if (tensorBytes(type, shape) !== end - begin) throw bad('shape and data_offsets disagree: those');
  return { dtype: type, shape, begin, end };
}

function checkLayout(
  tensors: ReadonlyMap<string, TensorEntry>,
  dataBytes: number,
  path: string,
): void {
  const sorted = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const [name, { begin, end }] of sorted) {
    if (begin !== at) {
      const what = begin < at ? 'overlaps another tensor' : 'follows a hole';
      throw damaged(path, `${JSON.stringify(name)} ${what}`);
    }
    at = end;
  }
  if (at > dataBytes) {
    const missing = String(at - dataBytes);
    throw damaged(path, `it is truncated, ${missing} bytes are missing`);
  }
  if (at < dataBytes) throw damaged(path, `${String(dataBytes - at)} bytes follow the last tensor`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return (
    Array.isArray(value) &&
    value.every((size) => Number.isSafeInteger(size) && (size as number) >= 0)
  );
}

/** `E_FILE` for a file that is not what it should be. */
export function damaged(path: string, what: string, cause?: unknown): PartlensError {
  return new PartlensError('E_FILE', `${path} is no valid safetensors file: ${what}.`, {
    details: { path },
    ...(cause === undefined ? {} : { cause }),
  });
}
