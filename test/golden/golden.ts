import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { expected, PartlensError } from '../../lib/errors.js';
import type { Graph, Value } from '../../lib/engine/graph.js';
import { buildTrainingGraph, type TrainingGraph } from '../../lib/explainer/loss.js';
import { trainOptions } from '../../lib/explainer/options.js';
import { hyperParameters } from '../../lib/engine/optimizer/index.js';
import { createSession, type DeviceOptions, type Session } from '../../lib/engine/session.js';

const numbers = z.array(z.number());
const byName = z.record(z.string(), numbers);

/** One golden file: a whole explainer and what several training steps must compute, float64. */
const goldenFile = z.object({
  config: z.object({
    B: z.int().min(1),
    C: z.int().min(1),
    D: z.int().min(1),
    n: z.int().min(1),
    k: z.int().min(1),
    pool: z.int().min(1),
    targets: z.array(z.int().min(1)).min(1),
    beta: z.number(),
    tau: z.number(),
    alpha: z.number(),
    momentum: z.number(),
    floor: z.number(),
    lambda_rec: numbers,
    target_power: numbers,
    eta: z.number(),
    lambda_filter: z.number(),
    optimizer: z.enum(['adam', 'sgd']),
    lr: z.number(),
    beta1: z.number(),
    beta2: z.number(),
    eps: z.number(),
    sgd_momentum: z.number(),
    weight_decay: z.number(),
  }),
  initial: byName,
  steps: z
    .array(
      z.object({
        features: numbers,
        targets: z.array(numbers),
        loss: z.number(),
        rec: numbers,
        contribution: z.number(),
        filter: numbers,
        p: z.number(),
        mu1: numbers,
        mu2: numbers,
        a1: numbers,
        m2: numbers,
        x_enc: numbers,
        h: z.array(numbers),
        alpha: byName,
        grad: byName,
        after: byName,
      }),
    )
    .min(1),
});

export type GoldenFile = z.output<typeof goldenFile>;
type Step = GoldenFile['steps'][number];

/** One compared tensor. */
export interface Comparison {
  step: number;
  kind: 'loss' | 'activation' | 'peak' | 'alpha' | 'gradient' | 'parameter';
  name: string;
  /** max |computed - expected| / max |expected|; for peaks the share of cells that differ. */
  error: number;
}

/** Reads and checks one golden file. Throws `E_FILE`. */
export async function readGolden(path: string): Promise<GoldenFile> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new PartlensError('E_FILE', `Cannot read ${path}: ${(cause as Error).message}`, {
      cause,
    });
  }
  const parsed = goldenFile.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new PartlensError('E_FILE', `${path} is no golden file.\n${z.prettifyError(parsed.error)}`);
}

/** Runs every step of a golden file through the engine and compares all that the file states. */
export async function runGolden(
  golden: GoldenFile,
  { backend = 'cpu', threads, accuracy }: Omit<DeviceOptions, 'precision'> = {},
): Promise<Comparison[]> {
  const training = buildGraph(golden.config);
  const outputs = traceOutputs(training);
  const session = await createSession({
    programs: { train: training.graph },
    backend,
    threads,
    precision: 'fp32',
    accuracy,
  });
  try {
    await session.write(mapValues(golden.initial, (values) => Float32Array.from(values)));
    const found: Comparison[] = [];
    for (const [index, step] of golden.steps.entries()) {
      found.push(...(await runStep(session, golden, { step, index, outputs })));
    }
    return found;
  } finally {
    session.dispose();
  }
}

function buildGraph(config: GoldenFile['config']): TrainingGraph {
  const { B, C, D, n, k, pool, targets, target_power: targetPower } = config;
  const options = trainOptions.parse({
    kernel: k,
    beta: config.beta,
    normMomentum: config.momentum,
    normFloor: config.floor,
    eta: config.eta,
    lambdaRec: config.lambda_rec,
    lambdaFilter: config.lambda_filter,
    diversity: 0,
    scale: 'paper',
    tau: config.tau,
    alpha: config.alpha,
    optimizer: config.optimizer,
    lr: config.lr,
    beta1: config.beta1,
    beta2: config.beta2,
    eps: config.eps,
    momentum: config.sgd_momentum,
    weightDecay: config.optimizer === 'sgd' ? config.weight_decay : 0,
    lrScaleP: 1,
    lrScaleDecoder: 1,
  });
  const spec = {
    channels: C,
    height: n,
    width: n,
    filters: D,
    pool: pool === 1 ? undefined : { kernel: pool },
    site: undefined,
    targets: targets.map((size, i) => ({
      ...{ name: `target_${String(i + 1)}`, shape: [size], size, relu: true },
    })),
    featureScale: 1,
  };
  return buildTrainingGraph(spec, options, { batch: B, targetPower });
}

/** Makes everything that the file states fetchable; returns the names. */
function traceOutputs({ graph, network, gradients }: TrainingGraph): string[] {
  const { a1, m2, xEnc, h, mu1, mu2 } = network;
  const trace = (target: Graph, name: string, value: Value | undefined): void => {
    if (value) target.output(name, value);
  };
  trace(graph, 'a1', a1);
  trace(graph, 'm2', m2);
  trace(graph, 'x_enc', xEnc);
  trace(graph, 'mu1', mu1);
  trace(graph, 'mu2', mu2);
  h.forEach((value, l) => {
    trace(graph, `h_${String(l + 1)}`, value);
  });
  for (const [name, value] of gradients) trace(graph, `grad ${name}`, value);
  return [...graph.outputs.keys()];
}

async function runStep(
  session: Session,
  { config, initial }: GoldenFile,
  { step, index, outputs }: { step: Step; index: number; outputs: string[] },
): Promise<Comparison[]> {
  const targets = step.targets.map((values, l) => [
    `target_${String(l + 1)}`,
    Float32Array.from(values),
  ]);
  const inputs = {
    features: Float32Array.from(step.features),
    hyper: hyperParameters(config.lr, index, config),
    ...(Object.fromEntries(targets) as Record<string, Float32Array>),
  };
  const got = await session.run('train', { inputs, fetch: outputs });
  const after = await session.read([...Object.keys(initial), ...Object.keys(step.alpha)]);
  const found: Comparison[] = [];
  const compare = (
    kind: Comparison['kind'],
    name: string,
    want: number[],
    have: ArrayLike<number> | undefined = got[name],
  ): void => {
    if (!have) throw expected('a computed value', name, have, { code: 'E_INTERNAL' });
    found.push({ step: index, kind, name, error: relativeError(have, want) });
  };

  const filter = step.filter.map(
    (_, l) => config.lambda_filter * scalar(got[`filter_${String(l + 1)}`]),
  );
  const rec = step.rec.map((_, l) => scalar(got[`rec_${String(l + 1)}`]));
  const total = [...rec, scalar(got['contribution']), ...filter].reduce((sum, x) => sum + x, 0);
  compare('loss', 'loss', [step.loss], [total]);
  compare('loss', 'rec', step.rec, rec);
  compare('loss', 'filter', step.filter, filter);
  compare('loss', 'contribution', [step.contribution]);
  compare('loss', 'p', [step.p]);
  compare('activation', 'a1', step.a1);
  compare('activation', 'm2', step.m2);
  compare('activation', 'x_enc', step.x_enc);
  step.h.forEach((values, l) => {
    compare('activation', `h_${String(l + 1)}`, values);
  });
  for (const mu of ['mu1', 'mu2'] as const) {
    const wrong = step[mu].filter((cell, i) => cell !== got[mu]?.[i]).length;
    found.push({ step: index, kind: 'peak', name: mu, error: wrong / step[mu].length });
  }
  for (const [name, values] of Object.entries(step.alpha))
    compare('alpha', name, values, after[name]);
  for (const [name, values] of Object.entries(step.grad)) {
    compare('gradient', name, values, got[`grad ${name}`]);
  }
  for (const [name, values] of Object.entries(step.after)) {
    compare('parameter', name, values, after[name]);
  }
  return found;
}

function relativeError(have: ArrayLike<number>, want: readonly number[]): number {
  if (have.length !== want.length) return Infinity;
  let difference = 0;
  let size = 0;
  want.forEach((value, i) => {
    const error = Math.abs((have[i] ?? NaN) - value);
    difference = error <= difference ? difference : error;
    size = Math.max(size, Math.abs(value));
  });
  return difference === 0 ? 0 : difference / size;
}

function scalar(values: ArrayLike<number> | undefined): number {
  return values?.[0] ?? NaN;
}

function mapValues<T, U>(record: Record<string, T>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
