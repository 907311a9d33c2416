import { loadBinding, type Accuracy, type Backend } from '../../lib/engine/binding.js';
import type { Graph } from '../../lib/engine/graph.js';
import { createSession } from '../../lib/engine/session.js';
import type { TensorData } from '../../lib/engine/tensor.js';

export type Arrays = Record<string, TensorData>;

/**
 * Backends that this machine can run, or the one that `PARTLENS_TEST_BACKEND` names. Throws with the
 * reason when that, or the CPU, cannot be used.
 */
export function backends(): Backend[] {
  const only = process.env.PARTLENS_TEST_BACKEND;
  const devices = loadBinding().devices();
  const needed = devices.find(({ backend }) => backend === (only ?? 'cpu'));
  if (!needed?.available) throw new Error(needed?.reason ?? `no backend ${only ?? 'cpu'}`);
  const usable = devices.filter(({ available }) => available);
  return usable.map(({ backend }) => backend).filter((name) => only === undefined || name === only);
}

/** `PARTLENS_TEST_SMALL=1` leaves out the large cases: for runs under other instruction sets. */
export const smallOnly = process.env.PARTLENS_TEST_SMALL === '1';

/**
 * Runs a graph in a session of its own and returns all of its outputs, and its states as they are
 * afterwards. `values` holds inputs, parameters and states by name; what the graph does not use is
 * ignored. Before that the graph runs on NaN, so that every place of memory that a kernel forgets to
 * write holds NaN.
 */
export async function runGraph(
  graph: Graph,
  values: Arrays,
  {
    backend = 'cpu',
    threads = 2,
    accuracy,
  }: { backend?: Backend; threads?: number; accuracy?: Accuracy } = {},
): Promise<Arrays> {
  const session = await createSession({
    programs: { main: graph },
    backend,
    threads,
    precision: 'fp32',
    accuracy,
  });
  try {
    const inputs = pick(values, [...session.program('main').inputs.keys()]);
    const kept = pick(values, [...session.persistent().keys()]);
    const fetch = [...graph.outputs.keys()];
    await session.run('main', { inputs: poisoned(inputs), fetch });
    await session.write(kept);
    const outputs = await session.run('main', { inputs, fetch });
    return { ...(await session.read([...session.persistent().keys()])), ...outputs };
  } finally {
    session.dispose();
  }
}

function pick(values: Arrays, names: readonly string[]): Arrays {
  return Object.fromEntries(Object.entries(values).filter(([name]) => names.includes(name)));
}

function poisoned(inputs: Arrays): Arrays {
  const nan = (data: TensorData): TensorData =>
    data instanceof Float32Array ? new Float32Array(data.length).fill(NaN) : data;
  return Object.fromEntries(Object.entries(inputs).map(([name, data]) => [name, nan(data)]));
}

/** True when both arrays hold the same bits (NaN equals itself, 0 is not -0). */
export function sameBits(a: TensorData | undefined, b: TensorData | undefined): boolean {
  if (!a || !b) return false;
  const bytes = (data: TensorData): Buffer =>
    Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return bytes(a).equals(bytes(b));
}
