import type { Session } from '../engine/session.js';
import { expected } from '../errors.js';

/**
 * Runs a program over `count` rows, batch by batch, the last one filled up with zeros; `size`, `sizes`: values of
 * each input and output in one row. Throws `E_SHAPE` naming the input, with the caller's `op`.
 */
export async function runRows<Name extends string>(
  session: Session,
  program: string,
  given: readonly { name: string; data: Float32Array; size: number }[],
  { count, batch, op }: { count: number; batch: number; op?: string },
  sizes: Readonly<Record<Name, number>>,
): Promise<Record<Name, Float32Array>> {
  for (const { name, data, size } of given) {
    if (data.length === count * size) continue;
    throw expected(`${String(count * size)} values`, name, data, {
      code: 'E_SHAPE',
      ...(op === undefined ? {} : { op }),
    });
  }
  const outputs = Object.entries<number>(sizes).map(([output, each]) => {
    return { output, each, values: new Float32Array(count * each) };
  });
  const fetch = Object.keys(sizes);
  for (let start = 0; start < count; start += batch) {
    const rows = Math.min(batch, count - start);
    const inputs = given.map(({ name, data, size }) => {
      const part = new Float32Array(batch * size);
      part.set(data.subarray(start * size, (start + rows) * size));
      return [name, part] as const;
    });
    const got = await session.run(program, { inputs: Object.fromEntries(inputs), fetch });
    for (const { output, each, values } of outputs) {
      values.set(got[output]?.subarray(0, rows * each) ?? [], start * each);
    }
  }
  const named = outputs.map(({ output, values }) => [output, values] as const);
  return Object.fromEntries(named) as Record<Name, Float32Array>;
}
