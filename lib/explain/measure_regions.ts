import { scoreOf, trackShapley, type TrackValues } from '../evaluate/metrics/index.js';
import {
  gridSize,
  type MeasuredFilter,
  type MeasuredParts,
} from '../evaluate/part_contributions.js';
import { intervene, type EncodedImage } from '../explainer/interventions.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import type { Region } from './explanation.js';
import { regionsOf } from './regions.js';
import { planShapley, type ShapleyValues } from './shapley.js';

/** What is asked of one photograph. */
export interface Question {
  explainer: TrainedExplainer;
  image: EncodedImage;
  /** Class whose score is watched. */
  index: number;
  /** Class whose score is taken off; undefined: none. */
  versus: number | undefined;
  /** Class beside which the regions are compared, `versus` or the next one; undefined where there is one alone. */
  rival: number | undefined;
  /** Random orders of the curves. */
  orders: number;
  signal: AbortSignal | undefined;
}

/** The score of a class, less that of another where there is one. */
export function scoring(
  { performer }: Pick<TrainedExplainer, 'performer'>,
  index: number,
  versus: number | undefined,
): (output: Float32Array) => number {
  const { softmax } = performer.output;
  const score = (output: Float32Array, k: number): number => scoreOf(output, k, softmax);
  return versus === undefined
    ? (output) => score(output, index)
    : (output) => score(output, index) - score(output, versus);
}

/** A region with its filters. */
export interface MeasuredRegion {
  region: Omit<Region, 'name' | 'where'>;
  members: MeasuredFilter[];
}

export interface MeasuredRegions {
  /** Largest value first. */
  regions: MeasuredRegion[];
  shapley: ShapleyValues;
  /** What regions and ordinary track give to the class rather than the rival; undefined without one. */
  contrast: { total: number; ordinary: number } | undefined;
}

/**
 * Regions with their Shapley values, largest first: of the mean of two games, with the ordinary track and without
 * it, so that regions and ordinary track share the whole score (the value of [Owen 1977]). A region is switched
 * off as a set. The same interventions give the values of the class rather than its rival.
 */
export async function measureRegions(
  { explainer, image, index, versus, rival, orders, signal }: Question,
  { parts, tracks, outputs: ofTracks }: MeasuredParts,
): Promise<MeasuredRegions> {
  const { performer, config } = explainer;
  const { size } = performer.output;
  const members = regionsOf(parts, gridSize(explainer).columns);
  const { seed } = config.options;
  const plan = planShapley(members.length, { orders: 2 * orders, seed });
  const off = (gone: (region: number) => boolean): number[] =>
    members.flatMap((region, g) => (gone(g) ? region.map(({ filter }) => filter) : []));
  const states = plan.coalitions.map((present) => off((g) => !present.includes(g)));
  const answers = await intervene(
    explainer,
    image,
    [
      ...states.flatMap((gone) => [{ off: gone }, { off: gone, ordinaryOff: true }]),
      ...members.map((_, region) => ({ off: off((g) => g === region) })),
    ],
    signal,
  );
  const row = (n: number): Float32Array => answers.subarray(n * size, (n + 1) * size);
  const valuesOf = (score: (output: Float32Array) => number): ShapleyValues =>
    plan.values(states.map((_, i) => (score(row(2 * i)) + score(row(2 * i + 1))) / 2));
  const score = scoring(explainer, index, versus);
  const shapley = valuesOf(score);
  const apart = rival === undefined ? undefined : scoring(explainer, index, rival);
  const rather = apart && valuesOf(apart);
  const regions = members
    .map((region, g) => ({
      members: region,
      region: {
        filters: region.map(({ filter }) => filter),
        value: shapley.values[g] ?? NaN,
        error: shapley.errors[g] ?? NaN,
        removed: tracks.full - score(row(2 * states.length + g)),
        rather: rather ? (rather.values[g] ?? NaN) : undefined,
      },
    }))
    .sort((a, b) => b.region.value - a.region.value);
  return { regions, shapley, contrast: apart && contrastOf(ofTracks, apart) };
}

function contrastOf(
  { full, parts, ordinary, none }: TrackValues<Float32Array>,
  score: (output: Float32Array) => number,
): { total: number; ordinary: number } {
  const values = {
    ...{ full: score(full), parts: score(parts) },
    ...{ ordinary: score(ordinary), none: score(none) },
  };
  return { total: values.full - values.none, ordinary: trackShapley(values).ordinary };
}
