import { decodeImage, UnusableImage, type DecodedImage } from '../data/decode.js';
import { readImage } from '../data/images.js';
import { expected, PartlensError } from '../errors.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { stoppable } from '../explainer/stop.js';
import { firstClass, mean, probabilities } from '../evaluate/metrics/index.js';
import type { Performer } from '../performer/index.js';
import { activeParts, knownParts, type FoundPart } from './active_parts.js';
import { planCurves } from './curves.js';
import type {
  ActivePart,
  ClassScore,
  ExplainOptions,
  Explanation,
  PairContribution,
} from './explanation.js';
import { intervene, type EncodedImage, type Intervention } from '../explainer/interventions.js';
import { frameOf } from '../performer/place.js';

/** Parts whose pairs are switched off together. */
const TOP = 5;
/** Smallest probability whose logarithm is taken: the smallest normal 32-bit float. */
const TINY = 2 ** -126;

/**
 * Explains the performer's prediction for one photograph by interventions: each filter's map, each pair
 * of the first five, each track is switched off; decoder and the performer's own head answer; the
 * contribution is the change of the class score. See `Explainer.explain`.
 */
export async function explainImage(
  explainer: TrainedExplainer,
  image: string | Uint8Array,
  options: ExplainOptions = {},
): Promise<Explanation> {
  const stop = { op: 'explain', message: 'The explanation was stopped.' };
  return stoppable(options.signal, stop, () => explain(explainer, image, options));
}

async function explain(
  explainer: TrainedExplainer,
  image: string | Uint8Array,
  options: ExplainOptions,
): Promise<Explanation> {
  const { performer, config, p } = explainer;
  const { orders = 16, signal } = options;
  if (!Number.isInteger(orders) || orders < 2 || orders % 2 !== 0) {
    throw expected('an even number >= 2', 'orders', orders, { op: 'explain' });
  }
  const wanted = options.class === undefined ? undefined : classIndex(performer, options.class);
  const warnings: string[] = [];
  const warn = (text: string): void => {
    warnings.push(text);
    options.onWarning?.(text);
  };
  const decoded = await decode(image, performer);
  const { layer, bypass, output } = await performer.features(decoded.pixels, 1);
  const own = classScore(performer, output, firstClass(output));
  const index = wanted ?? own.index;
  const encoding = await explainer.encode(layer);
  const frame = frameOf(performer, decoded);
  const found = activeParts(explainer, encoding, frame, await knownParts(explainer, warn));
  const measured = await measure(
    { explainer, image: { encoding, bypass }, index, orders, signal },
    found,
  );
  const rebuilt = classScore(performer, measured.output, firstClass(measured.output));
  if (rebuilt.index !== own.index) warn(disagreement(own, rebuilt));
  if (found.length === 0) warn('No part filter answers in this image.');
  const { parts, pairs, tracks, deletion, insertion } = measured;
  return {
    path: typeof image === 'string' ? image : undefined,
    frame,
    prediction: own,
    rebuilt,
    explained: classScore(performer, measured.output, index),
    unit: performer.output.softmax ? 'log probability' : 'logit',
    p,
    filters: config.network.filters,
    parts,
    pairs,
    tracks,
    control: controlOf(parts, config.network.filters),
    deletion,
    insertion,
    warnings,
  };
}

interface Question {
  explainer: TrainedExplainer;
  image: EncodedImage;
  /** Class whose score is watched. */
  index: number;
  /** Random orders of the curves. */
  orders: number;
  signal: AbortSignal | undefined;
}

type Measured = Pick<Explanation, 'parts' | 'pairs' | 'tracks' | 'deletion' | 'insertion'> & {
  /** The head's output without an intervention. */
  output: Float32Array;
};

/** All interventions of an image: single ones first, then what follows from their order. */
async function measure(question: Question, found: readonly FoundPart[]): Promise<Measured> {
  const { explainer, image, index, orders, signal } = question;
  const { performer, config } = explainer;
  const ask = async (list: readonly Intervention[]): Promise<[number[], Float32Array]> => {
    const outputs = rows(await intervene(explainer, image, list, signal), list.length);
    const scores = outputs.map((output) => classScore(performer, output, index).score);
    return [scores, outputs[0] ?? new Float32Array(0)];
  };
  const [[all = NaN, none = NaN, noOrdinary = NaN, ...single], output] = await ask([
    {},
    { off: found.map(({ filter }) => filter) },
    { ordinaryOff: true },
    ...found.map(({ filter }) => ({ off: [filter] })),
  ]);
  const parts = found
    .map((part, i): ActivePart => ({ ...part, contribution: all - (single[i] ?? NaN) }))
    .sort((a, b) => b.contribution - a.contribution || a.filter - b.filter);
  const pairs = pairsOf(parts.slice(0, TOP));
  const ranked = parts.map(({ filter }) => filter);
  const plan = planCurves(ranked, { orders, seed: config.options.seed });
  const both = pairs.map((pair) => ({ off: pair.map(({ filter }) => filter) }));
  const [scores] = await ask([...both, ...plan.interventions]);
  return {
    output,
    parts,
    pairs: pairs
      .map((pair, i) => pairContribution(pair, all - (scores[i] ?? NaN)))
      .sort((a, b) => b.contribution - a.contribution),
    tracks: { interpretable: all - none, ordinary: all - noOrdinary },
    ...plan.curves(scores.slice(pairs.length), { all, none }),
  };
}

async function decode(image: string | Uint8Array, performer: Performer): Promise<DecodedImage> {
  if (typeof image === 'string') return readImage(image, performer.preprocessing);
  try {
    return await decodeImage(image, performer.preprocessing);
  } catch (cause) {
    if (!(cause instanceof UnusableImage)) throw cause;
    const message = `The image cannot be used: ${cause.message}.`;
    throw new PartlensError('E_FILE', message, { op: 'explain', cause });
  }
}

function classIndex({ output, classes }: Performer, wanted: number | string): number {
  const index = typeof wanted === 'number' ? wanted : (classes?.indexOf(wanted) ?? -1);
  if (Number.isInteger(index) && index >= 0 && index < output.size) return index;
  const numbers = `a number from 0 to ${String(output.size - 1)}`;
  throw expected(
    classes ? `one of ${classes.join(', ')}, or ${numbers}` : numbers,
    'class',
    wanted,
    {
      op: 'explain',
    },
  );
}

function classScore(performer: Performer, output: Float32Array, index: number): ClassScore {
  const { softmax } = performer.output;
  const probability = (softmax ? output : probabilities(output))[index] ?? NaN;
  const score = softmax ? Math.log(Math.max(probability, TINY)) : (output[index] ?? NaN);
  const name = performer.classes?.[index] ?? `class ${String(index)}`;
  return { index, name, probability, score };
}

function disagreement(own: ClassScore, rebuilt: ClassScore): string {
  return (
    `The performer says ${own.name}, but its head on the rebuilt features says ${rebuilt.name}: ` +
    'contributions tell how the rebuilt features score, not why the performer decided.'
  );
}

function pairsOf(top: readonly ActivePart[]): [ActivePart, ActivePart][] {
  return top.flatMap((a, i) => top.slice(i + 1).map((b): [ActivePart, ActivePart] => [a, b]));
}

function pairContribution(
  [a, b]: [ActivePart, ActivePart],
  contribution: number,
): PairContribution {
  const interaction = contribution - a.contribution - b.contribution;
  return { filters: [a.filter, b.filter], contribution, interaction };
}

function controlOf(parts: readonly ActivePart[], filters: number): Explanation['control'] {
  const values = parts.map(({ contribution }) => contribution);
  const ofAll = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / filters;
  return {
    random: ofAll(values),
    randomSize: ofAll(values.map(Math.abs)),
    top: values.length === 0 ? 0 : mean(values.slice(0, TOP)),
  };
}

/** Cuts (count, size) values into rows. */
function rows(values: Float32Array, count: number): Float32Array[] {
  const size = values.length / count;
  return Array.from({ length: count }, (_, row) => values.subarray(row * size, (row + 1) * size));
}
