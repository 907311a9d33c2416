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
import { answeringFilters, measureParts } from '../evaluate/part_contributions.js';
import type { Performer } from '../performer/index.js';
import { activePart, knownParts } from './active_parts.js';
import { planCurves } from './curves.js';
import type { ActivePart, ClassScore, ExplainOptions, Explanation } from './explanation.js';
import { measureRegions, scoring, type MeasuredRegions, type Question } from './measure_regions.js';
import { nameOfRegion, placeInWords, REGION } from './regions.js';
import { sentenceOf } from './sentence.js';
import { hasParts, intervene } from '../explainer/interventions.js';
import { frameOf } from '../performer/place.js';

/** Parts whose mean stands beside that of a filter at random. */
const TOP = 5;

/**
 * Explains the performer's prediction for one photograph by interventions: each part alone is added to
 * nothing, each region of parts at one place is removed, alone and in company of others; decoder and the
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
  const versus =
    options.versus === undefined ? undefined : classIndex(performer, options.versus, 'versus');
  const warnings: string[] = [];
  const warn = (text: string): void => {
    warnings.push(text);
    options.onWarning?.(text);
  };
  const decoded = await decode(source, performer);
  const { layer, bypass, output } = await performer.features(decoded.pixels, 1);
  const own = classScore(performer, output, firstClass(output));
  const index = wanted ?? own.index;
  if (versus === index) throw expected('another class', 'versus', own.name, { op: 'explain' });
  const encoding = await explainer.encode(layer);
  const found = hasParts(explainer) ? answeringFilters(explainer, encoding) : [];
  const image = { encoding, bypass };
  const score = scoring(explainer, index, versus);
  const measured = await measureParts(explainer, image, { found, score, reach: REGION, signal });
  const { full } = measured.outputs;
  const truth = options.truth === undefined ? index : classIndex(performer, options.truth, 'truth');
  const rival = versus ?? (truth === index ? nextClass(full, index) : truth);
  const question = { explainer, image, index, versus, rival, orders, signal };
  const measuredRegions = await measureRegions(question, measured);
  const path = typeof source === 'string' ? source : undefined;
  const known = await knownParts(
    explainer,
    { category: options.category, path, prediction: own.name },
    warn,
  );
  const frame = frameOf(performer, decoded);
  const parts = measuredRegions.regions.flatMap(({ members }, region) =>
    [...members]
      .sort((a, b) => b.alone - a.alone || a.filter - b.filter)
      .map((part) => activePart(explainer, encoding, part, { frame, known: known.parts, region })),
  );
  const rebuilt = classScore(performer, full, firstClass(full));
  if (rebuilt.index !== own.index) warn(disagreement(own, rebuilt));
  if (found.length === 0) warn('No part filter answers in this image.');
  const { parts: interpretable, ordinary } = trackShapley(measured.tracks);
  const lifted = interpretable + ordinary;
  const { shapley, contrast } = measuredRegions;
  const facts: Omit<Explanation, 'sentence'> = {
    path,
    frame,
    prediction: own,
    rebuilt,
    explained: classScore(performer, full, index),
    versus: versus === undefined ? undefined : classScore(performer, full, versus),
    category: known.category,
    unit: performer.output.softmax ? 'log probability' : 'logit',
    p,
    share: lifted > 0 ? interpretable / lifted : NaN,
    filters: config.network.filters,
    parts,
    regions: namedRegions(measuredRegions, parts, frame),
    contrast:
      contrast && rival !== undefined
        ? { ...contrast, than: classScore(performer, full, rival) }
        : undefined,
    shapley: { exact: shapley.exact, coalitions: shapley.coalitions },
    tracks: { interpretable, ordinary },
    control: controlOf(parts, config.network.filters),
    ...(await measureCurves(question, parts, measured.tracks)),
    warnings,
  };
  return { sentence: sentenceOf(facts), ...facts };
}

/** Regions with their names and where their leading filters peak. */
function namedRegions(
  { regions }: MeasuredRegions,
  parts: readonly ActivePart[],
  frame: Explanation['frame'],
): Explanation['regions'] {
  return regions.map(({ region }, r) => {
    const members = parts.filter((part) => part.region === r);
    const lead = members.find(({ filter }) => filter === region.filters[0]);
    const where = placeInWords(lead?.place ?? { x: 0, y: 0 }, frame);
    return { ...region, name: nameOfRegion(members), where };
  });
}

/** The class of the largest output but one; undefined for an output of one number. */
function nextClass(output: Float32Array, index: number): number | undefined {
  const others = Array.from(output.keys()).filter((k) => k !== index);
  if (others.length === 0) return undefined;
  return others.reduce((best, k) => ((output[k] ?? 0) > (output[best] ?? 0) ? k : best));
}

async function measureCurves(
  { explainer, image, index, versus, orders, signal }: Question,
  parts: readonly ActivePart[],
  tracks: TrackValues,
): Promise<Pick<Explanation, 'deletion' | 'insertion'>> {
  const { seed } = explainer.config.options;
  const plan = planCurves(
    parts.map(({ filter }) => filter),
    { orders, seed },
  );
  const outputs = await intervene(explainer, image, plan.interventions, signal);
  const score = scoring(explainer, index, versus);
  const scores = rows(outputs, plan.interventions.length).map(score);
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

function classIndex(
  { output, classes }: Performer,
  wanted: number | string,
  name = 'class',
): number {
  const index = typeof wanted === 'number' ? wanted : (classes?.indexOf(wanted) ?? -1);
  if (Number.isInteger(index) && index >= 0 && index < output.size) return index;
  const numbers = `a number from 0 to ${String(output.size - 1)}`;
  throw expected(classes ? `one of ${classes.join(', ')}, or ${numbers}` : numbers, name, wanted, {
    op: 'explain',
  });
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
