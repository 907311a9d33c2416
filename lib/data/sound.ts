import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

/** Bytes that are looked at in one turn of the event loop. */
const TURN = 2 ** 22;

/** SHA-256 (hex) of a text and of bytes, which must not change meanwhile; the event loop stays free. */
export async function checksum(text: string, data: ArrayBufferView): Promise<string> {
  const hash = createHash('sha256').update(text);
  for (const part of turns(data)) {
    hash.update(part);
    if (part.length === TURN) await setImmediate();
  }
  return hash.digest('hex');
}

/** The first value that is no finite number, as text; undefined where there is none. Integers are finite. */
export async function notFinite(data: ArrayBufferView): Promise<string | undefined> {
  if (!(data instanceof Float32Array)) return undefined;
  // The bits: several times faster than Number.isFinite.
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length);
  const most = TURN / 4;
  for (let from = 0; from < words.length; from += most) {
    if (from > 0) await setImmediate();
    const end = Math.min(from + most, words.length);
    for (let i = from; i < end; i++) {
      if (((words[i] ?? 0) & 0x7f800000) === 0x7f800000) return String(data[i]);
    }
  }
  return undefined;
}

/** The same of the bits of 16-bit floats. */
export function notFiniteHalf(halves: Uint16Array): string | undefined {
  const bad = halves.find((half) => (half & 0x7c00) === 0x7c00);
  if (bad === undefined) return undefined;
  return bad & 0x3ff ? 'NaN' : bad & 0x8000 ? '-Infinity' : 'Infinity';
}

function* turns(data: ArrayBufferView): Generator<Uint8Array> {
  for (let at = 0; at < data.byteLength; at += TURN) {
    const length = Math.min(TURN, data.byteLength - at);
    yield new Uint8Array(data.buffer, data.byteOffset + at, length);
  }
}
