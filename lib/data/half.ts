/** Largest finite 16-bit float. */
export const HALF_MAX = 65504;

let table: Float32Array | undefined;
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The value of a 16-bit float (IEEE 754 binary16) given by its bits. */
export function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** Bits of the nearest 16-bit float, ties to even; above 65504 (rounded) infinity, NaN stays NaN. */
export function floatToHalf(value: number): number {
  float[0] = value;
  const word = bits[0] ?? 0;
  const sign = (word >>> 16) & 0x8000;
  const rest = word & 0x7fffffff;
  if (rest > 0x7f800000) return sign | 0x7e00;
  if (rest >= 0x47800000) return sign | 0x7c00; // 65536 and above
  if (rest < 0x38800000) {
    // below 2^-14: multiples of 2^-24; adding 0.5 lets the float unit round them to even
    float[0] = Math.abs(value) + 0.5;
    return sign | ((bits[0] ?? 0) - 0x3f000000);
  }
  const odd = (rest >>> 13) & 1;
  return sign | ((rest - 0x38000000 + 0xfff + odd) >>> 13);
}

/** Encodes `values` as 16-bit floats. */
export function encodeHalf(
  values: Float32Array,
  into: Uint16Array = new Uint16Array(values.length),
): Uint16Array {
  for (let i = 0; i < values.length; i++) into[i] = floatToHalf(values[i] ?? 0);
  return into;
}

/** Decodes 16-bit floats by a table of 65536 values. */
export function decodeHalf(
  halves: Uint16Array,
  into: Float32Array = new Float32Array(halves.length),
): Float32Array {
  table ??= Float32Array.from({ length: 65536 }, (_, half) => halfToFloat(half));
  for (let i = 0; i < halves.length; i++) into[i] = table[halves[i] ?? 0] ?? 0;
  return into;
}
