import { create, toBinary } from '@bufbuild/protobuf';
import { ModelSchema, ValueInfoSchema } from '../../lib/performer/onnx_proto.js';
import { decodeModel } from '../../lib/performer/onnx_wire.js';

/** The package's second opinion, or undefined where it is not installed. */
export async function loadOnnxRuntime(): Promise<typeof import('onnxruntime-node') | undefined> {
  try {
    return await import('onnxruntime-node');
  } catch {
    return undefined;
  }
}

/**
 * Runs a model in onnxruntime over images (count, 3, size, size), `batch` at a time, and gives any
 * values of the graph: those that are no outputs yet are appended to them.
 */
export async function runOnnxRuntime(
  bytes: Uint8Array,
  images: Float32Array,
  options: { count: number; size: number; batch: number; names: readonly string[] },
): Promise<Record<string, Float32Array>> {
  const runtime = await loadOnnxRuntime();
  if (!runtime) throw new Error('onnxruntime-node is not installed');
  const { count, size, batch, names } = options;
  const model = decodeModel(bytes, 'model');
  const outputs = model.graph?.output ?? [];
  const known = new Set(outputs.map(({ name }) => name));
  for (const name of names) if (!known.has(name)) outputs.push(create(ValueInfoSchema, { name }));
  const session = await runtime.InferenceSession.create(toBinary(ModelSchema, model), {
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const [input = 'image'] = session.inputNames;
  const parts = new Map<string, Float32Array[]>(names.map((name) => [name, []]));
  const length = 3 * size * size;
  for (let start = 0; start < count; start += batch) {
    const data = images.slice(start * length, (start + batch) * length);
    const x = new runtime.Tensor('float32', data, [data.length / length, 3, size, size]);
    const results = await session.run({ [input]: x }, [...names]);
    for (const name of names) parts.get(name)?.push(results[name]?.data as Float32Array);
  }
  await session.release();
  return Object.fromEntries([...parts].map(([name, list]) => [name, join(list)]));
}

/**
 * |a - b| / |b|, Euclidean, and the largest difference over the largest value: the greater one. 0 where
 * both are 0.
 */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let [difference, norm, largest, top] = [0, 0, 0, 0];
  for (let i = 0; i < b.length; i++) {
    const value = b[i] ?? NaN;
    const d = Math.abs((a[i] ?? NaN) - value);
    if (Number.isNaN(d)) return NaN;
    difference += d * d;
    norm += value * value;
    largest = Math.max(largest, d);
    top = Math.max(top, Math.abs(value));
  }
  if (largest === 0) return 0;
  return Math.max(Math.sqrt(difference / norm), largest / top);
}

function join(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
