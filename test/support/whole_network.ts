import { create, toBinary } from '@bufbuild/protobuf';
import { ModelSchema, ValueInfoSchema } from '../../lib/performer/onnx_proto.js';
import { createSession } from '../../lib/engine/session.js';
import { lowerModel, type LowerOptions } from '../../lib/performer/lower.js';
import type { NetValue, Network } from '../../lib/performer/network.js';
import { OnnxBuilder } from '../../lib/performer/onnx_builder.js';
import { decodeModel } from '../../lib/performer/onnx_wire.js';
import { parseModel } from '../../lib/performer/onnx_read.js';
import { encodeModel, type NodeSpec } from '../../lib/performer/onnx_write.js';
import { NetworkParts } from '../../lib/performer/parts.js';
import { writeNetwork } from '../../lib/performer/to_onnx.js';
import { inFileOrder } from '../../lib/performer/view.js';
import { loadOnnxRuntime } from './onnxruntime.js';

/** Reads a model from its bytes. */
export function lowerBytes(bytes: Uint8Array, options: LowerOptions = {}): Network {
  return lowerModel(parseModel(decodeModel(bytes, 'test.onnx'), 'test.onnx', ''), options);
}

/** Images that lie as the file's input does as (count, C, H, W). */
export function canonicalImages(network: Network, data: Float32Array): Float32Array {
  const [C = 1, H = 1, W = 1] = network.input.shape;
  if (network.input.axes?.[1] === 1) return data;
  const images = new Float32Array(data.length);
  images.forEach((_, i) => {
    const [n, c] = [Math.floor(i / (C * H * W)), Math.floor(i / (H * W)) % C];
    images[i] = data[(n * H * W + (i % (H * W))) * C + c] ?? 0;
  });
  return images;
}

/** Values of `count` images by the engine, in the order in which the file's tensors lie. */
export async function runEngine(
  network: Network,
  images: Float32Array,
  count: number,
  names: readonly string[],
): Promise<Record<string, Float32Array>> {
  const outputs = names.map((name) => ({ name, value: valueOf(network, name) }));
  const given = { name: 'x', value: network.input };
  const computed = outputs.filter(({ value }) => value !== network.input);
  const kept = [network.input, ...computed.map(({ value }) => value)];
  const parts = new NetworkParts(network, kept);
  const all = parts.program({ from: [given], outputs: computed }, count);
  const session = await createSession({ programs: { all }, backend: 'cpu', threads: 1 });
  try {
    await session.write(parts.weights);
    const results = await session.run('all', {
      inputs: { x: images },
      fetch: computed.map(({ name }) => name),
    });
    return Object.fromEntries(
      names.map((name) => {
        const result = results[name];
        const data = result instanceof Float32Array ? result : images;
        return [name, ordered(network, name, data, count)];
      }),
    );
  } finally {
    session.dispose();
  }
}

/** The same by onnxruntime, from the network written as ONNX again. */
export async function runWritten(
  network: Network,
  images: Float32Array,
  count: number,
  names: readonly string[],
): Promise<Record<string, Float32Array>> {
  const builder = new OnnxBuilder();
  const written = writeNetwork(builder, network, 'image');
  const wanted = [...new Set(names.map((name) => written.get(valueOf(network, name)) ?? ''))];
  const bytes = encodeModel({
    opset: 17,
    inputs: [{ name: 'image', dims: ['N', ...network.input.shape] }],
    outputs: wanted.filter((name) => name !== 'image').map((name) => ({ name, dims: [] })),
    nodes: builder.nodes,
    initializers: builder.initializers,
  });
  const computed = wanted.filter((name) => name !== 'image');
  const results = await runFile(bytes, images, [count, ...network.input.shape], computed);
  return Object.fromEntries(
    names.map((name) => {
      const data = results[written.get(valueOf(network, name)) ?? ''] ?? images;
      return [name, ordered(network, name, data, count)];
    }),
  );
}

/** Outputs of a file by onnxruntime. */
export async function runFile(
  bytes: Uint8Array,
  images: Float32Array,
  dims: readonly number[],
  names: readonly string[],
): Promise<Record<string, Float32Array>> {
  const runtime = await loadOnnxRuntime();
  if (!runtime) throw new Error('onnxruntime-node is not installed');
  const model = decodeModel(bytes, 'model');
  // Without types: the runtime infers them.
  if (model.graph) model.graph.output = names.map((name) => create(ValueInfoSchema, { name }));
  const session = await runtime.InferenceSession.create(toBinary(ModelSchema, model), {
    intraOpNumThreads: 1,
    graphOptimizationLevel: 'disabled',
    logSeverityLevel: 4,
  });
  const [input = 'image'] = session.inputNames;
  const x = new runtime.Tensor('float32', images, dims);
  const results = await session.run({ [input]: x }, [...names]);
  await session.release();
  return Object.fromEntries(
    names.map((name) => [name, Float32Array.from(results[name]?.data as Float32Array)]),
  );
}

function valueOf(network: Network, name: string): NetValue {
  const value = network.names.get(name);
  if (value) return value;
  throw new Error(`${name} was not read`);
}

function ordered(network: Network, name: string, data: Float32Array, count: number): Float32Array {
  const view = network.views.get(name);
  return view ? inFileOrder(view, data, count) : data;
}

/** Below it the other runtime's own sigmoid and tanh are off by more than 1e-4 of their values. */
const FLOOR = 1e-3;

/**
 * The tensor that differs most. Differences count relative to the largest value of the tensor, or to a
 * thousandth of the largest that its node reads: what cancels to zero is noise. A difference of up to
 * twice what the node read already, as a number, is not its own.
 */
export function furthest(
  nodes: readonly NodeSpec[],
  got: Readonly<Record<string, Float32Array>>,
  wanted: Readonly<Record<string, Float32Array>>,
): { name: string; error: number } {
  let worst = { name: '', error: 0 };
  const differences = new Map<string, number>();
  for (const { inputs, outputs, opType } of nodes) {
    const read = Math.max(...inputs.map((name) => largest(wanted[name])));
    const inherited = Math.max(0, ...inputs.map((name) => differences.get(name) ?? 0));
    for (const name of outputs) {
      const [a, b] = [got[name], wanted[name]];
      if (!b) continue;
      const difference =
        a?.length === b.length ? b.map((value, i) => value - (a[i] ?? NaN)) : [NaN];
      const most = largest(difference);
      differences.set(name, most);
      if (most <= 2 * inherited) continue;
      const error = most / Math.max(largest(b), read / 1000, FLOOR);
      if (!(error <= worst.error)) worst = { name: `${name} (${opType})`, error };
    }
  }
  return worst;
}

/** Largest absolute value; NaN where there is one. */
function largest(values: ArrayLike<number> = []): number {
  let top = 0;
  for (let i = 0; i < values.length; i++) {
    const value = Math.abs(values[i] ?? NaN);
    if (!(value <= top)) top = value;
  }
  return top;
}
