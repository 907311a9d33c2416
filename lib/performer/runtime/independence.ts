import { Random } from '../../random.js';

/** Larger differences than the runtime's own rounding, as a part of the largest value. */
const TOLERANCE = 1e-4;

/**
 * Runs a batch of random images, and another with the same first one: what stops the first image's
 * outputs from being its own. An error of the runtime, a sentence, or undefined where nothing does.
 */
export async function independence(
  inputs: readonly { size: number; top: number }[],
  batch: number,
  run: (data: Float32Array[]) => Promise<Float32Array[]>,
): Promise<string | Error | undefined> {
  const draw = (label: string): Float32Array[] => {
    const random = new Random(1, label);
    return inputs.map(({ size, top }) =>
      Float32Array.from({ length: batch * size }, () => random.uniform() * top),
    );
  };
  const [a, b] = [draw('batch a'), draw('batch b')];
  inputs.forEach(({ size }, i) => b[i]?.set(a[i]?.subarray(0, size) ?? []));
  try {
    const [first, second] = [await run(a), await run(b)];
    const equal = first.every((data, i) => {
      const length = data.length / batch;
      return isEqual(data.subarray(0, length), second[i]?.subarray(0, length) ?? data);
    });
    return equal ? undefined : 'values of an image depend on the others of its batch';
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function isEqual(a: Float32Array, b: Float32Array): boolean {
  let [largest, difference] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x = 0, y = 0] = [a[i], b[i]];
    if (Object.is(x, y)) continue;
    const d = Math.abs(x - y);
    if (Number.isNaN(d)) return false;
    difference = Math.max(difference, d);
    largest = Math.max(largest, Math.abs(x));
  }
  return difference <= TOLERANCE * largest;
}
