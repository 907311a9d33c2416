// Reads the arrays that the scripts of this folder write with numpy.savez.
import { readFile } from 'node:fs/promises';
import { unzipSync } from 'fflate';
import { expected } from '../../lib/errors.js';
import { sizeOf } from '../../lib/engine/tensor.js';

export interface FloatArray {
  shape: number[];
  data: Float32Array;
}

/** Arrays of an `.npz` file by name: float32, row-major. Throws `E_FILE` for anything else. */
export async function readNpz(path: string): Promise<Map<string, FloatArray>> {
  const files = Object.entries(unzipSync(await readFile(path)));
  return new Map(files.map(([name, bytes]) => [name.replace(/\.npy$/, ''), parse(bytes, name)]));
}

/** Format version 1: magic and version (8 bytes), length of the header (2), header, values. */
function parse(bytes: Uint8Array, name: string): FloatArray {
  const start = 10 + new DataView(bytes.buffer, bytes.byteOffset).getUint16(8, true);
  const header = Buffer.from(bytes.subarray(10, start)).toString('latin1');
  const dims = /'shape': \(([\d, ]*)\)/.exec(header)?.[1];
  const shape = dims?.match(/\d+/g)?.map(Number) ?? [];
  const length = 4 * sizeOf(shape);
  const plain = header.includes("'<f4'") && header.includes("'fortran_order': False");
  if (bytes[6] !== 1 || !plain || dims === undefined || bytes.length - start !== length) {
    throw expected('a float32 array, row-major', name, header, { op: 'npz', code: 'E_FILE' });
  }
  return { shape, data: new Float32Array(bytes.slice(start).buffer) };
}
