import { Zip, ZipDeflate } from 'fflate';
import { setImmediate } from 'node:timers/promises';
import { sizeOf, type Shape } from '../engine/tensor.js';
import { expected } from '../errors.js';
import { AtomicFile } from './atomic.js';

/** An array as NumPy reads it: float32, int32, or texts of any length. */
export interface NpyArray {
  shape: Shape;
  data: Float32Array | Int32Array | readonly string[];
}

/** Bytes that are compressed before the event loop may go on, about 20 ms. */
const PIECE = 2 ** 19;
/** The zip format ends at 4 GiB without extensions. */
const MAX_BYTES = 2 ** 32 - 2 ** 20;

/** The bytes of an `.npy` file, version 1.0, row-major. Throws `E_SHAPE` when data and shape disagree. */
export function encodeNpy({ shape, data }: NpyArray, name = 'array'): Uint8Array[] {
  if (sizeOf(shape) !== data.length) {
    throw expected(`${String(sizeOf(shape))} values`, name, data.length, {
      op: 'npz',
      code: 'E_SHAPE',
    });
  }
  const { type, bytes } = elements(data);
  return [npyHeader(type, shape), bytes];
}

/** What stands before the elements of an `.npy` file: a multiple of 64 bytes, and at least `total`. */
export function npyHeader(type: string, shape: Shape, total = 0): Uint8Array {
  const dims = shape.map((size) => `${String(size)},`).join(' ');
  const fields = `{'descr': '${type}', 'fortran_order': False, 'shape': (${dims}), }`;
  const length = Math.max(Math.ceil((10 + fields.length + 1) / 64) * 64, total);
  const header = new Uint8Array(length).fill(0x20);
  header.set(Buffer.from('\x93NUMPY\x01\x00', 'latin1'));
  new DataView(header.buffer).setUint16(8, length - 10, true);
  header.set(Buffer.from(fields, 'latin1'), 10);
  header[length - 1] = 0x0a;
  return header;
}

/**
 * Writes arrays as an `.npz` file (zip, deflate) for `numpy.load`, piece by piece: the event loop stays
 * free, and memory holds the arrays alone. The same arrays give the same bytes. Throws `E_ARGUMENT` for
 * more than 4 GiB, `E_FILE`.
 */
export async function writeNpz(
  path: string,
  arrays: Readonly<Record<string, NpyArray>>,
): Promise<void> {
  const entries = Object.entries(arrays).map(([name, array]) => {
    return { name: `${name}.npy`, parts: encodeNpy(array, name) };
  });
  const total = entries.flatMap(({ parts }) => parts).reduce((sum, part) => sum + part.length, 0);
  if (total > MAX_BYTES) throw expected('arrays of less than 4 GiB', path, total, { op: 'npz' });
  const file = await AtomicFile.create(path);
  const ready: Uint8Array[] = [];
  const zip = new Zip((error, chunk) => {
    if (error) throw error;
    ready.push(chunk);
  });
  let position = 0;
  const flush = async (): Promise<void> => {
    for (const chunk of ready.splice(0)) {
      await file.write(chunk, position);
      position += chunk.length;
    }
    await setImmediate();
  };
  try {
    for (const { name, parts } of entries) {
      const entry = new ZipDeflate(name, { level: 4 });
      entry.mtime = new Date(1980, 0, 1);
      zip.add(entry);
      for (const part of parts) {
        for (let at = 0; at < part.length; at += PIECE) {
          entry.push(part.subarray(at, at + PIECE));
          await flush();
        }
      }
      entry.push(new Uint8Array(0), true);
      await flush();
    }
    zip.end();
    await flush();
    await file.commit();
  } catch (error) {
    await file.discard();
    throw error;
  }
}

function elements(data: NpyArray['data']): { type: string; bytes: Uint8Array } {
  if (data instanceof Float32Array || data instanceof Int32Array) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return { type: data instanceof Float32Array ? '<f4' : '<i4', bytes };
  }
  const points = data.map((text) => Array.from(text, (sign) => sign.codePointAt(0) ?? 0));
  const longest = points.reduce((most, list) => Math.max(most, list.length), 1);
  const codes = new Uint32Array(data.length * longest);
  points.forEach((list, i) => codes.set(list, i * longest));
  return { type: `<U${String(longest)}`, bytes: new Uint8Array(codes.buffer) };
}
