import { readFileSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';

/** An array of an .npz file. */
export interface NpyArray {
  dims: number[];
  data: Float32Array;
}

/**
 * The float32 arrays of an .npz file as NumPy writes it (row-major), by name without `.npy`; default:
 * all of it.
 */
export function readNpz(file: string, wanted?: readonly string[]): Record<string, NpyArray> {
  const bytes = readFileSync(file);
  const result: Record<string, NpyArray> = {};
  const end = bytes.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  const count = bytes.readUInt16LE(end + 10);
  let at = bytes.readUInt32LE(end + 16);
  for (let i = 0; i < count; i++) {
    const method = bytes.readUInt16LE(at + 10);
    const [size, nameLength] = [bytes.readUInt32LE(at + 20), bytes.readUInt16LE(at + 28)];
    const [extra, comment] = [bytes.readUInt16LE(at + 30), bytes.readUInt16LE(at + 32)];
    const local = bytes.readUInt32LE(at + 42);
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength);
    const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const stored = bytes.subarray(start, start + size);
    const key = name.replace(/\.npy$/, '');
    if (wanted?.includes(key) ?? true)
      result[key] = readNpy(method === 0 ? stored : inflateRawSync(stored));
    at += 46 + nameLength + extra + comment;
  }
  return result;
}

function readNpy(bytes: Buffer): NpyArray {
  const version = bytes[6] ?? 1;
  const start = version === 1 ? 10 : 12;
  const length = version === 1 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8);
  const header = bytes.toString('latin1', start, start + length);
  if (!header.includes("'<f4'") || !header.includes('False')) throw new Error(header);
  const shape = /'shape': \(([^)]*)\)/.exec(header)?.[1] ?? '';
  const dims = shape.split(',').flatMap((size) => (size.trim() === '' ? [] : [Number(size)]));
  return { dims, data: new Float32Array(Uint8Array.from(bytes.subarray(start + length)).buffer) };
}
