/*
 * The worker thread of onnxruntime: its calls block the thread that makes them. Values cross as float32;
 * models come cut and with Cast and Transpose nodes where theirs differ, so that nothing is converted here.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { Busy } from './busy.js';
import type { Replies, Reply, Request, Task, Values, WeightFile } from './messages.js';

type Runtime = typeof import('onnxruntime-node');

class Missing extends Error {}

/** Loads the runtime at the first use. `module` is `onnxruntime-node` but in tests. */
async function loadRuntime(module: string): Promise<Runtime> {
  try {
    return (await import(module)) as Runtime;
  } catch (error) {
    throw new Missing(error instanceof Error ? error.message : String(error));
  }
}

const { module, memory } = workerData as { module: string; memory: SharedArrayBuffer };
const busy = new Busy(memory);
const sessions = new Map<string, InferenceSession>();
let runtime: Runtime | undefined;
let weights: WeightFile[] = [];

/** Does one task; gives the reply's value and what of it is moved rather than copied. */
async function perform(ort: Runtime, task: Task): Promise<[Replies[keyof Replies], ArrayBuffer[]]> {
  switch (task.kind) {
    case 'weights':
      weights = task.files;
      return [undefined, []];
    case 'drop':
      weights = [];
      return [undefined, []];
    case 'open':
      sessions.set(task.name, await createSession(ort, task.model, { threads: task.threads }));
      return [undefined, []];
    case 'types':
      return [await readTypes(ort, task.model), []];
    case 'run': {
      const session = sessions.get(task.name);
      if (!session) throw new Error(`no session ${task.name}`);
      const results = await run(ort, session, task.feeds, task.fetch);
      return [results, Object.values(results).map(({ data }) => data.buffer)];
    }
    case 'shapes':
      return [await readShapes(ort, task.model, task.feeds), []];
  }
}

/** `plain`: values are computed as the model says, none is fused away. */
function createSession(
  ort: Runtime,
  model: Uint8Array,
  { threads = 0, plain = false }: { threads?: number; plain?: boolean },
): Promise<InferenceSession> {
  return ort.InferenceSession.create(model, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 4, // what goes wrong is thrown
    graphOptimizationLevel: plain ? 'disabled' : 'all',
    externalData: weights,
  });
}

async function readTypes(ort: Runtime, model: Uint8Array): Promise<Replies['types']> {
  const session = await createSession(ort, model, { plain: true });
  // Before 1.22 it tells no types: one that is no float32 is then refused when it is computed.
  const { outputMetadata } = session as Partial<Pick<InferenceSession, 'outputMetadata'>>;
  const known = outputMetadata?.map((one): [string, string | undefined] => [
    one.name,
    one.isTensor ? one.type : undefined,
  ]);
  const types = known ?? session.outputNames.map((name): [string, string] => [name, 'float32']);
  await session.release();
  return Object.fromEntries(types);
}

async function readShapes(
  ort: Runtime,
  model: Uint8Array,
  feeds: Record<string, Values>,
): Promise<Replies['shapes']> {
  const session = await createSession(ort, model, { plain: true });
  try {
    const results = await session.run(tensorsOf(ort, feeds));
    const shapes = Object.entries(results).map(([name, { data }]): [string, number[]] => [
      name,
      Array.from(data as BigInt64Array, Number),
    ]);
    return Object.fromEntries(shapes);
  } finally {
    await session.release();
  }
}

async function run(
  ort: Runtime,
  session: InferenceSession,
  feeds: Record<string, Values>,
  fetch: string[],
): Promise<Record<string, Values>> {
  const results = await session.run(tensorsOf(ort, feeds), fetch);
  const outputs = fetch.map((name): [string, Values] => {
    const result = results[name];
    if (result?.type !== 'float32') throw new Error(`output ${name} is ${String(result?.type)}`);
    // A copy: onnxruntime owns what it gives out.
    return [name, { dims: [...result.dims], data: new Float32Array(result.data as Float32Array) }];
  });
  for (const result of Object.values(results)) result.dispose();
  return Object.fromEntries(outputs);
}

function tensorsOf(ort: Runtime, feeds: Record<string, Values>): Record<string, Tensor> {
  const tensors = Object.entries(feeds).map(([name, { dims, data }]): [string, Tensor] => [
    name,
    new ort.Tensor('float32', data, dims),
  ]);
  return Object.fromEntries(tensors);
}

/** One task after the other, as they come. */
let last = Promise.resolve();

parentPort?.on('message', (request: Request) => {
  last = last.then(() => answer(request));
});

async function answer(request: Request): Promise<void> {
  if (request === 'close') {
    weights = [];
    await busy.during(async () => {
      for (const session of sessions.values()) await session.release();
    });
    parentPort?.close();
    return;
  }
  const { id, task } = request;
  try {
    const ort = (runtime ??= await loadRuntime(module));
    const [value, moved] = await busy.during(() => perform(ort, task));
    parentPort?.postMessage({ id, value } satisfies Reply, moved);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const missing = error instanceof Missing;
    parentPort?.postMessage({ id, error: text, missing } satisfies Reply);
  }
}
