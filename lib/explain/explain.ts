import { decodeImage, UnusableImage, type DecodedImage } from '../data/decode.js';
import { readImage } from '../data/images.js';
import { expected, PartlensError } from '../errors.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { stoppable } from '../explainer/stop.js';
import {
  firstClass,
  mean,
  probabilities,
  scoreOf,
  trackShapley,
  type TrackValues,
} from '../evaluate/metrics/index.js';
import {
  answeringFilters,
  gridSize,
  measureParts,
  type MeasuredFilter,
} from '../evaluate/part_contributions.js';
import type { Performer } from '../performer/index.js';
import { activePart, knownParts } from './active_parts.js';
import { planCurves } from './curves.js';
import type {
  ActivePart,
  ClassScore,
  ExplainOptions,
  Explanation,
  PartGroup,
} from './explanation.js';
import { groupParts } from './groups.js';
import { planShapley, type ShapleyValues } from './shapley.js';
import { hasParts, intervene, type EncodedImage } from '../explainer/interventions.js';
import { frameOf } from '../performer/place.js';

/** Parts whose mean stands beside that of a filter at random. */
const TOP = 5;

/**
 * Explains the performer's prediction for one photograph by interventions: each part alone is added to
 * nothing, each group of parts at one place is removed, alone and in company of others; decoder and the
 * performer's own later layers answer. See `Explainer.explain`.
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
  source: string | Uint8Array,
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
  const decoded = await decode(source, performer);
  const { layer, bypass, output } = await performer.features(decoded.pixels, 1);
  const own = classScore(performer, output, firstClass(output));
  const index = wanted ?? own.index;
  const encoding = await explainer.encode(layer);
  const found = hasParts(explainer) ? answeringFilters(explainer, encoding) : [];
  const image = { encoding, bypass };
  const measured = await measureParts(explainer, image, { found, index, signal });
  const question = { explainer, image, index, orders, signal };
  const { groups, shapley } = await measureGroups(question, measured);
  const known = await knownParts(explainer, warn);
  const frame = frameOf(performer, decoded);
  const parts = groups.flatMap(({ members }, group) =>
    [...members]
      .sort((a, b) => b.alone - a.alone || a.filter - b.filter)
      .map((part) => activePart(explainer, encoding, part, { frame, known, group })),
  );
  const rebuilt = classScore(performer, measured.output, firstClass(measured.output));
  if (rebuilt.index !== own.index) warn(disagreement(own, rebuilt));
  if (found.length === 0) warn('No part filter answers in this image.');
  const { parts: interpretable, ordinary } = trackShapley(measured.tracks);
  const lifted = interpretable + ordinary;
  return {
    path: typeof source === 'string' ? source : undefined,
    frame,
    prediction: own,
    rebuilt,
    explained: classScore(performer, measured.output, index),
    unit: performer.output.softmax ? 'log probability' : 'logit',
    p,
    share: lifted > 0 ? interpretable / lifted : NaN,
    filters: config.network.filters,
    parts,
    groups: groups.map(({ group }) => group),
    shapley: { exact: shapley.exact, coalitions: shapley.coalitions },
    tracks: { interpretable, ordinary },
    control: controlOf(parts, config.network.filters),
    ...(await measureCurves(question, parts, measured.tracks)),
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

interface MeasuredGroup {
  group: PartGroup;
  members: MeasuredFilter[];
}

/**
 * Groups of parts with their Shapley values, largest first: of the mean of two games, with the ordinary track
 * and without it, so that groups and ordinary track share the whole score (the value of [Owen 1977]).
 */
async function measureGroups(
  { explainer, image, index, orders, signal }: Question,
  { parts, tracks }: { parts: readonly MeasuredFilter[]; tracks: TrackValues },
): Promise<{ groups: MeasuredGroup[]; shapley: ShapleyValues }> {
  const { performer, config } = explainer;
  const { size, softmax } = performer.output;
  const members = groupParts(parts, gridSize(explainer).columns);
  const { seed } = config.options;
  const plan = planShapley(members.length, { orders: 2 * orders, seed });
  const off = (gone: (group: number) => boolean): number[] =>
    members.flatMap((group, g) => (gone(g) ? group.map(({ filter }) => filter) : []));
  const states = plan.coalitions.map((present) => off((g) => !present.includes(g)));
  const outputs = await intervene(
    explainer,
    image,
    [
      ...states.flatMap((gone) => [{ off: gone }, { off: gone, ordinaryOff: true }]),
      ...members.map((_, group) => ({ off: off((g) => g === group) })),
    ],
    signal,
  );
  const score = (n: number): number => {
    return scoreOf(outputs.subarray(n * size, (n + 1) * size), index, softmax);
  };
  const shapley = plan.values(states.map((_, i) => (score(2 * i) + score(2 * i + 1)) / 2));
  const groups = members
    .map((group, g) => ({
      members: group,
      group: {
        filters: group.map(({ filter }) => filter),
        value: shapley.values[g] ?? NaN,
        error: shapley.errors[g] ?? NaN,
        removed: tracks.full - score(2 * states.length + g),
      },
    }))
    .sort((a, b) => b.group.value - a.group.value);
  return { groups, shapley };
}

async function measureCurves(
  { explainer, image, index, orders, signal }: Question,
  parts: readonly ActivePart[],
  tracks: TrackValues,
): Promise<Pick<Explanation, 'deletion' | 'insertion'>> {
  const { performer, config } = explainer;
  const { seed } = config.options;
  const plan = planCurves(
    parts.map(({ filter }) => filter),
    { orders, seed },
  );
  const outputs = await intervene(explainer, image, plan.interventions, signal);
  const scores = rows(outputs, plan.interventions.length).map((output) =>
    scoreOf(output, index, performer.output.softmax),
  );
  return plan.curves(scores, { all: tracks.full, none: tracks.ordinary });
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
  const score = scoreOf(output, index, softmax);
  const name = performer.classes?.[index] ?? `class ${String(index)}`;
  return { index, name, probability, score };
}

function disagreement(own: ClassScore, rebuilt: ClassScore): string {
  return (
    `The performer says ${own.name}, but its head on the rebuilt features says ${rebuilt.name}: ` +
    'contributions tell how the rebuilt features score, not why the performer decided.'
  );
}

function controlOf(parts: readonly ActivePart[], filters: number): Explanation['control'] {
  const values = parts.map(({ alone }) => alone).sort((a, b) => b - a);
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
