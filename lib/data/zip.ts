/** A stored (not compressed) file of a zip archive. */
export interface ZipEntry {
  name: string;
  crc: number;
  /** Bytes of the file. */
  size: number;
  /** Where its local header begins. */
  offset: number;
}

const LIMIT = 0xffffffff;
const ZIP64_VERSION = 45;
const UTF8_NAMES = 0x0800;
/** 1980-01-01, the format's first day: the same files give the same bytes. */
const DATE = 0x0021;
const POLYNOMIAL = 0xedb88320;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? POLYNOMIAL : 0);
  return value;
});

/** CRC-32 of `bytes` behind what gave `before`. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) {
    crc = (TABLE[(crc ^ (bytes[i] ?? 0)) & 0xff] ?? 0) ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

/**
 * CRC-32 of two pieces behind each other, from that of each and the length of the second (bytes): a
 * header that is known last can stand first. crc(a b) = crc(a) x^(8 length) + crc(b) modulo the
 * polynomial, with bit 31 for x^0.
 */
export function joinCrc(first: number, second: number, length: number): number {
  let power = 1 << 23; // x^8
  let shift = 1 << 31; // x^0
  for (let left = length; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) shift = product(power, shift);
    power = product(power, power);
  }
  return (product(shift, first) ^ second) >>> 0;
}

/** a b modulo the polynomial. */
function product(a: number, b: number): number {
  let sum = 0;
  for (let bit = 31, shifted = b; bit >= 0; bit--) {
    if ((a >>> bit) & 1) sum ^= shifted;
    shifted = (shifted >>> 1) ^ (shifted & 1 ? POLYNOMIAL : 0);
  }
  return sum;
}

/** What stands before a file's bytes; as long for every size. */
export function localHeader({ name, crc, size }: Omit<ZipEntry, 'offset'>): Uint8Array {
  const text = new TextEncoder().encode(name);
  const { bytes, view } = record(30 + text.length + 20);
  view.setUint32(0, 0x04034b50, true);
  view.setUint16(4, ZIP64_VERSION, true);
  view.setUint16(6, UTF8_NAMES, true);
  view.setUint16(12, DATE, true);
  view.setUint32(14, crc, true);
  view.setUint32(18, LIMIT, true);
  view.setUint32(22, LIMIT, true);
  view.setUint16(26, text.length, true);
  view.setUint16(28, 20, true);
  bytes.set(text, 30);
  extra(view, 30 + text.length, [size, size]);
  return bytes;
}

/** What stands behind all files, at byte `start`; with zip64 records where sizes or places need them. */
export function centralDirectory(entries: readonly ZipEntry[], start: number): Uint8Array {
  const list = entries.map(directoryEntry);
  const size = list.reduce((sum, { length }) => sum + length, 0);
  const large = entries.length >= 0xffff || start >= LIMIT || size >= LIMIT;
  const { bytes, view } = record((large ? 76 : 0) + 22);
  if (large) {
    view.setUint32(0, 0x06064b50, true);
    setLong(view, 4, 44);
    view.setUint16(12, ZIP64_VERSION, true);
    view.setUint16(14, ZIP64_VERSION, true);
    [entries.length, entries.length, size, start].forEach((value, i) => {
      setLong(view, 24 + 8 * i, value);
    });
    view.setUint32(56, 0x07064b50, true);
    setLong(view, 64, start + size);
    view.setUint32(72, 1, true);
  }
  const at = large ? 76 : 0;
  const count = Math.min(entries.length, 0xffff);
  view.setUint32(at, 0x06054b50, true);
  view.setUint16(at + 8, count, true);
  view.setUint16(at + 10, count, true);
  view.setUint32(at + 12, Math.min(size, LIMIT), true);
  view.setUint32(at + 16, Math.min(start, LIMIT), true);
  return Buffer.concat([...list, bytes]);
}

function directoryEntry({ name, crc, size, offset }: ZipEntry): Uint8Array {
  const text = new TextEncoder().encode(name);
  const large = size >= LIMIT || offset >= LIMIT;
  const { bytes, view } = record(46 + text.length + (large ? 28 : 0));
  view.setUint32(0, 0x02014b50, true);
  view.setUint16(4, ZIP64_VERSION, true);
  view.setUint16(6, ZIP64_VERSION, true);
  view.setUint16(8, UTF8_NAMES, true);
  view.setUint16(14, DATE, true);
  view.setUint32(16, crc, true);
  view.setUint32(20, large ? LIMIT : size, true);
  view.setUint32(24, large ? LIMIT : size, true);
  view.setUint16(28, text.length, true);
  view.setUint16(30, large ? 28 : 0, true);
  view.setUint32(42, large ? LIMIT : offset, true);
  bytes.set(text, 46);
  if (large) extra(view, 46 + text.length, [size, size, offset]);
  return bytes;
}

/** The zip64 field. */
function extra(view: DataView, at: number, values: readonly number[]): void {
  view.setUint16(at, 1, true);
  view.setUint16(at + 2, 8 * values.length, true);
  values.forEach((value, i) => setLong(view, at + 4 + 8 * i, value));
}

function setLong(view: DataView, at: number, value: number): void {
  view.setBigUint64(at, BigInt(value), true);
}

function record(length: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(length);
  return { bytes, view: new DataView(bytes.buffer) };
}
