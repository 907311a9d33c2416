import { readImage } from '../data/images.js';
import { expected } from '../errors.js';
import { hasParts, interventionCost } from '../explainer/interventions.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import type { Performer, Preprocessing } from '../performer/index.js';
import { Random } from '../random.js';
import { gridOf } from './filter_scores.js';
import {
  cellCentre,
  energyPeak,
  firstClass,
  occlusionFalls,
  occlusionHolds,
  scoreOf,
  within,
  withSquare,
  type OcclusionFalls,
  type PlaceFalls,
} from './metrics/index.js';
import {
  answeringFilters,
  gridSize,
  measureParts,
  type MeasuredFilter,
} from './part_contributions.js';

/** Side of the square, fraction of the image's. */
const SHARE = 1 / 4;
/** Weakest part that counts, as a share of its mean strength: fainter ones stand for nothing. */
const FAINT = 0.1;
/** Photographs by default, and fewer where their interventions take more multiply-adds than that. */
const [SAMPLE, COST, FEWEST] = [75, 1e12, 8];

/**
 * Fall of the performer's own class score under a grey square, mean over images. The flat fields go by what
 * is lost when a part is removed with its group, `alone` by what it gives alone.
 */
export interface OcclusionCheck extends OcclusionFalls {
  /** Photographs in which a part answers. */
  images: number;
  alone: OcclusionFalls;
}

export interface OcclusionOptions {
  /** Draws filters and places, default that of the run. */
  seed?: number | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Asks the performer itself whether contributions are true of it: how much its own score of its own first
 * class falls when a grey square, a fourth of the image's side, hides
 *
 *   the peak of the part of the largest contribution, and of the smallest,
 *   the peak of a part drawn at random, and a place drawn at random (squares that are whole),
 *   the peak of the norm of the performer's features, averaged over 5 x 5 cells.
 *
 * `images`: paths of photographs. Undefined where no part answers in any, or the run has none. Throws
 * `E_FILE` when a photograph cannot be read, and the signal's reason when it aborts.
 */
export async function occlusionCheck(
  explainer: TrainedExplainer,
  images: readonly string[],
  { seed = explainer.config.options.seed, signal, onProgress }: OcclusionOptions = {},
): Promise<OcclusionCheck | undefined> {
  if (!hasParts(explainer)) return undefined;
  const random = new Random(seed, 'evaluate/occlusion');
  const found: { removed: PlaceFalls; alone: PlaceFalls }[] = [];
  for (const [n, path] of images.entries()) {
    signal?.throwIfAborted();
    const falls = await fallsOf(explainer, path, { random, signal });
    if (falls) found.push(falls);
    onProgress?.(n + 1, images.length);
  }
  if (found.length === 0) return undefined;
  return {
    images: found.length,
    ...occlusionFalls(found.map(({ removed }) => removed)),
    alone: occlusionFalls(found.map(({ alone }) => alone)),
  };
}

/** Whether contributions hold for the performer, in words. */
export function occlusionVerdict(check: OcclusionCheck): string {
  const { againstEnergy } = check;
  if (!occlusionHolds(check)) {
    return (
      'The check fails: hiding the part of the largest contribution costs the CNN no more than hiding that of ' +
      'the smallest (by two standard errors). Contributions tell how rebuilt features score, not what the CNN uses.'
    );
  }
  const beyond = occlusionHolds(againstEnergy)
    ? 'and more than hiding the place of the strongest features'
    : 'but not more than hiding the place of the strongest features (by two standard errors)';
  return (
    'The check holds: hiding the part of the largest contribution costs the CNN more than hiding that of the ' +
    `smallest, ${beyond}.`
  );
}

/**
 * Photographs on which `evaluate` checks, evenly from the list: `wanted`, or by default 75, down to 8 for
 * large networks; none of a run without parts. Throws `E_ARGUMENT`.
 */
export function occlusionSample<T>(
  explainer: TrainedExplainer,
  images: readonly T[],
  wanted?: number,
): T[] {
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted >= 0)) {
    throw expected('an integer >= 0', 'occlusion', wanted, { op: 'evaluate' });
  }
  if (!hasParts(explainer)) return [];
  const each = 2 * explainer.config.network.filters * interventionCost(explainer);
  const affordable = Math.max(FEWEST, Math.floor(COST / each));
  const count = Math.min(images.length, wanted ?? Math.min(SAMPLE, affordable));
  return Array.from({ length: count }, (_, i) => Math.floor((i * images.length) / count)).flatMap(
    (at) => images.slice(at, at + 1),
  );
}

async function fallsOf(
  explainer: TrainedExplainer,
  path: string,
  { random, signal }: { random: Random; signal: AbortSignal | undefined },
): Promise<{ removed: PlaceFalls; alone: PlaceFalls } | undefined> {
  const { performer } = explainer;
  const { pixels } = await readImage(path, performer.preprocessing);
  const { layer, bypass, output } = await performer.features(pixels, 1);
  const index = firstClass(output);
  const encoding = await explainer.encode(layer);
  const found = answeringFilters(explainer, encoding).filter(({ strength }) => strength > FAINT);
  const image = { encoding, bypass };
  const { parts } = await measureParts(explainer, image, {
    found,
    score: (out) => scoreOf(out, index, performer.output.softmax),
    signal,
  });
  const [one] = parts;
  if (!one) return undefined;
  const common = {
    random: parts[random.int(parts.length)]?.cell ?? one.cell,
    energy: energyPeak(layer, gridSize(explainer)),
    randomPlace: randomPlace(performer, random),
  };
  const placesBy = (by: 'removed' | 'alone'): Record<keyof PlaceFalls, number> => {
    const best = (sign: number): MeasuredFilter =>
      parts.reduce((most, part) => (sign * part[by] > sign * most[by] ? part : most), one);
    return { largest: best(1).cell, smallest: best(-1).cell, ...common };
  };
  const [removed, alone] = [placesBy('removed'), placesBy('alone')];
  const cells = [...new Set([...Object.values(removed), ...Object.values(alone)])];
  const hidden = await scoresUnder(performer, pixels, { cells, index });
  const whole = scoreOf(output, index, performer.output.softmax);
  const fall = (cell: number): number => whole - (hidden.get(cell) ?? NaN);
  const falls = (at: Record<keyof PlaceFalls, number>): PlaceFalls => ({
    largest: fall(at.largest),
    smallest: fall(at.smallest),
    random: fall(at.random),
    energy: fall(at.energy),
    randomPlace: fall(at.randomPlace),
  });
  return { removed: falls(removed), alone: falls(alone) };
}

/** The performer's own score of a class with a square over each of some cells, by cell. */
async function scoresUnder(
  performer: Performer,
  pixels: Float32Array,
  { cells, index }: { cells: readonly number[]; index: number },
): Promise<Map<number, number>> {
  const { input, output, preprocessing } = performer;
  const grid = gridOf(performer);
  const images = new Float32Array(cells.length * pixels.length);
  cells.forEach((cell, i) => {
    const options = { ...input, fill: greyOf(preprocessing), share: SHARE };
    images.set(withSquare(pixels, cellCentre(grid, cell), options), i * pixels.length);
  });
  const answer = await performer.features(images, cells.length);
  return new Map(
    cells.map((cell, i) => {
      const outputs = answer.output.subarray(i * output.size, (i + 1) * output.size);
      return [cell, scoreOf(outputs, index, output.softmax)];
    }),
  );
}

/** A cell whose square is whole, or any where none is. */
function randomPlace(performer: Performer, random: Random): number {
  const grid = gridOf(performer);
  const { height, width } = performer.input;
  const all = Array.from({ length: grid.rows * grid.columns }, (_, cell) => cell);
  const whole = all.filter((cell) => {
    const [y, x] = cellCentre(grid, cell);
    return within(y, height, SHARE).whole && within(x, width, SHARE).whole;
  });
  const from = whole.length > 0 ? whole : all;
  return from[random.int(from.length)] ?? 0;
}

/**
 * Grey as the network sees it, for each channel: 0, the mean colour; middle grey, byte 128, where no mean is
 * taken off. Undefined for the transparency of RGBA, which stays as it is.
 */
export function greyOf({ channels, mean, scale, std }: Preprocessing): (number | undefined)[] {
  const without = mean.every((value) => value === 0);
  const grey = std.map((deviation) => (without ? (128 * scale) / deviation : 0));
  return channels === 'RGBA' ? [...grey.slice(0, 3), undefined] : grey;
}
