import { gradient } from '../../engine/grad.js';
import { Graph, type Value } from '../../engine/graph.js';
import { adam, hyperParameters } from '../../engine/optimizer/index.js';
import { binary, conv2d, meanSquare } from '../../engine/ops/index.js';
import { createSession, type Session } from '../../engine/session.js';
import { meanRow, rowNorms, rowsIn, shifted } from '../../explainer/vectors.js';
import { inPieces, pacer } from '../../pace.js';
import { Random } from '../../random.js';
import type { FitOptions, FittedCode } from './fitted.js';

/** Values of a code that are kept. */
const KEPT = 12;
const STEPS = 250;
const BATCH = 1024;
const LEARNING_RATE = 2e-3;

/**
 * Sparse autoencoder: a = the 12 largest of max(W (x - mean) / s + b, 0), the others 0, rebuilt as
 * s V a + mean, s the mean norm of the features. Adam, 250 steps of 1024 vectors on |x' - V a|^2; V starts as
 * W^T, of random directions. [Makhzani, Frey 2014]
 */
export async function fitSparseAutoencoder(
  vectors: Float32Array,
  options: FitOptions,
): Promise<FittedCode> {
  const { channels: C, filters: D, device, signal } = options;
  const rows = rowsIn(vectors, C, 'sae');
  const mean = await meanRow(vectors, C, signal);
  const norms = await rowNorms(vectors, C, signal);
  const size = norms.reduce((sum, norm) => sum + norm, 0) / rows || 1;
  const x = await shifted(vectors, { channels: C, shift: mean, factor: 1 / size, signal });
  const session = await createSession({ programs: programsOf(C, D), ...device });
  try {
    await train(session, x, options);
    const { encoder, bias, decoder } = await session.read(['encoder', 'bias', 'decoder']);
    const w = (encoder as Float32Array).map((x) => x / size);
    const b = (bias as Float32Array).map((x, d) => {
      return x - mean.reduce((sum, m, c) => sum + m * (w[d * C + c] ?? 0), 0);
    });
    return {
      name: 'sae',
      filters: D,
      frozen: { w: { shape: [D, C, 1, 1], data: w }, b: { shape: [D], data: b } },
      encode: (x, of) => conv2d(x, of('w'), of('b'), { relu: true }),
      finish: (maps, count) => keepLargest(maps, { count, filters: D, kept: KEPT, signal }),
      decoder: {
        weights: (decoder as Float32Array).map((x) => x * size),
        bias: Float32Array.from(mean),
      },
    };
  } finally {
    session.dispose();
  }
}

/** `encode`: x to the code before the choice; `step`: one step of Adam, given what was chosen. */
function programsOf(C: number, D: number): Record<string, Graph> {
  const codeOf = (graph: Graph): { x: Value; w: Value; b: Value; code: Value } => {
    const x = graph.input('x', [1, C, 1, BATCH]);
    const w = graph.parameter('encoder', [D, C, 1, 1], { layout: 'conv_weight' });
    const b = graph.parameter('bias', [D]);
    return { x, w, b, code: conv2d(x, w, b, { relu: true }) };
  };
  const encode = new Graph();
  encode.output('code', codeOf(encode).code);
  const step = new Graph();
  const { x, w, b, code } = codeOf(step);
  const v = step.parameter('decoder', [C, D, 1, 1], { layout: 'conv_weight' });
  const chosen = binary(code, step.input('chosen', [1, D, 1, BATCH]), 'mul');
  const loss = meanSquare(conv2d(chosen, v, undefined), x, { weight: C });
  const parameters = [w, b, v];
  const gradients = gradient([{ of: loss }], parameters);
  adam(
    parameters.flatMap((parameter, i) => {
      const of = gradients[i];
      return of ? [[parameter, of] as const] : [];
    }),
    step.input('hyper', [3]),
  );
  return { encode, step };
}

async function train(session: Session, x: Float32Array, options: FitOptions): Promise<void> {
  const { channels: C, filters: D, seed, signal } = options;
  const rows = x.length / C;
  const random = new Random(seed, 'baselines/sae');
  const rest = pacer(signal);
  const [encoder, decoder] = [new Float32Array(D * C), new Float32Array(C * D)];
  await inPieces(D * C, (from, to) => {
    for (let i = from; i < to; i++) encoder[i] = random.normal() / Math.sqrt(C);
  });
  await inPieces(C * D, (from, to) => {
    for (let i = from; i < to; i++) decoder[i] = encoder[(i % D) * C + Math.floor(i / D)] ?? 0;
  });
  await session.write({ encoder, decoder, bias: new Float32Array(D) });
  const batch = new Float32Array(C * BATCH);
  for (let step = 0; step < STEPS; step++) {
    signal?.throwIfAborted();
    for (let n = 0; n < BATCH; n++) {
      const from = random.int(rows) * C;
      for (let c = 0; c < C; c++) batch[c * BATCH + n] = x[from + c] ?? 0;
      await rest();
    }
    const { code } = await session.run('encode', { inputs: { x: batch }, fetch: ['code'] });
    const chosen = code as Float32Array;
    await keepLargest(chosen, { count: 1, filters: D, kept: KEPT, signal });
    chosen.forEach((value, i) => (chosen[i] = Number(value > 0)));
    const hyper = hyperParameters(LEARNING_RATE, step);
    await session.run('step', { inputs: { x: batch, chosen, hyper } });
  }
}

/** Sets all but the `kept` largest values above 0 of each cell of maps (count, D, cells) to 0; of equals the first stay. */
export async function keepLargest(
  maps: Float32Array,
  { count, filters: D, kept, signal }: KeepOptions,
): Promise<void> {
  if (kept >= D) return;
  const cells = maps.length / (count * D);
  const rest = pacer(signal);
  const column = new Float32Array(D);
  for (let n = 0; n < count; n++) {
    for (let cell = 0; cell < cells; cell++) {
      const start = n * D * cells + cell;
      for (let d = 0; d < D; d++) column[d] = maps[start + d * cells] ?? 0;
      const least = column.slice().sort()[D - kept] ?? 0;
      let left = kept;
      for (let d = 0; d < D; d++) if ((column[d] ?? 0) > least) left--;
      for (let d = 0; d < D; d++) {
        const value = column[d] ?? 0;
        if (value > least || (value === least && left-- > 0)) continue;
        maps[start + d * cells] = 0;
      }
      if (cell % 64 === 63) await rest();
    }
    await rest();
  }
}

interface KeepOptions {
  count: number;
  filters: number;
  kept: number;
  signal?: AbortSignal | undefined;
}
