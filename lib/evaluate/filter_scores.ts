import { sidesOf } from '../data/image_size.js';
import type { Annotations } from '../data/landmarks.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import type { Performer } from '../performer/index.js';
import { BASELINES, type BaselineName } from './baselines/names.js';
import {
  allCategories,
  bestFixedPosition,
  cellCentre,
  consistency,
  emptyCategoryTable,
  fillCategoryTable,
  filtersPerCategory,
  fixedPeaks,
  locationInstability,
  noiseStability,
  partMetrics,
  r2,
  randomPeaks,
  TOP_IMAGES,
  vectorInstability,
  type AllCategories,
  type CategoryTable,
  type Consistency,
  type FiltersPerCategory,
  type Grid,
  type InstabilityInput,
  type LocationInstability,
  type NoiseStability,
  type PartMetrics,
  type Peaks,
  type R2,
  type VectorInstability,
} from './metrics/index.js';
import { namesOfFilters, type PartName } from './part_naming.js';
import { ofSet, OWN_SETS, type PeakSets } from './peak_sets.js';

/** Scores of one set of filters. */
export interface FilterScores extends LocationInstability {
  /** On the grid of the layer; those of fixed positions on a grid of one cell. */
  peaks: Peaks;
  vector: VectorInstability;
  r2: R2;
  perCategory: FiltersPerCategory;
  /** Both instabilities on all categories, and over those of the performer's filters. */
  allCategories: AllCategories;
  allCategoryRatio: AllCategories;
  /** Purity, coverage, duplicates. */
  parts: PartMetrics;
  consistency: Consistency;
  /** Where noise was asked for; of fixed and random positions none. */
  noise: NoiseStability | undefined;
}

/** Controls that are maps of the photographs, and those that are positions alone. */
export const MAP_CONTROLS = ['untrained', 'energy', 'performerSmoothed'] as const;
const POSITION_CONTROLS = ['fixedPositionBest', 'fixedPositionCentre', 'random'] as const;
/** Every control, in the order in which they are told. */
export const CONTROLS = [...MAP_CONTROLS, ...POSITION_CONTROLS] as const;
export type ControlName = (typeof CONTROLS)[number];

/** Scores of the performer's own filters and of both interpretable layers, with controls. */
export interface ScoredSets extends Record<(typeof OWN_SETS)[number], FilterScores> {
  controls: Record<ControlName, FilterScores>;
  /** Of the sources that `evaluate` was given, by name. */
  sources: Record<string, FilterScores>;
  /** Of the baselines, where they were asked for; by name. */
  baselines: Partial<Record<BaselineName, FilterScores>>;
  /** Names of filters that photographs bear out, by filter. */
  names: Record<'performer' | 'layer2', PartName[][]>;
  annotations: Annotations;
  /** Landmark positions that were used. */
  landmarks: number;
}

/** Where the cells of the explained maps lie. */
export function gridOf({ layer: { height, width, geometry } }: Performer): Grid {
  return { rows: height, columns: width, stride: geometry.stride, first: geometry.firstCentre };
}

/** One set of filters that is to be scored. */
interface Scorable extends InstabilityInput {
  /** The same with noise in the photographs. */
  noisy?: Peaks | undefined;
  /** Images that count for a landmark, default 100. */
  top?: number;
}

/**
 * Scores all sets with the same metrics; `noisy`: the peaks with noise in the photographs. Lets others
 * have a turn after some filters.
 */
export async function scoreFilters(
  { performer, config }: TrainedExplainer,
  given: { peaks: PeakSets; noisy: PeakSets | undefined; annotations: Annotations },
): Promise<ScoredSets> {
  const { peaks, noisy, annotations } = given;
  const grid = gridOf(performer);
  const { seed } = config.options;
  const scored = new Map<string, FilterScores>();
  for (const name of Object.keys(peaks)) {
    const input = { peaks: ofSet(peaks, name), annotations, grid };
    scored.set(name, await scoreSet({ ...input, noisy: noisy && ofSet(noisy, name) }));
  }
  for (const [name, input] of Object.entries(positions(annotations, grid, seed))) {
    scored.set(name, await scoreSet(input));
  }
  const base = scored.get('performer')?.allCategories;
  for (const scores of scored.values()) {
    scores.allCategoryRatio = {
      distance: scores.allCategories.distance / (base?.distance ?? NaN),
      vector: scores.allCategories.vector / (base?.vector ?? NaN),
    };
  }
  const known: readonly string[] = [...OWN_SETS, ...CONTROLS];
  const others = [...scored].filter(([name]) => !known.includes(name));
  const isBaseline = (name: string): boolean => BASELINES.some((other) => other === name);
  return {
    ...pick(scored, OWN_SETS),
    controls: pick(scored, CONTROLS),
    sources: Object.fromEntries(others.filter(([name]) => !isBaseline(name))),
    baselines: Object.fromEntries(others.filter(([name]) => isBaseline(name))),
    names: {
      performer: await namesOfFilters({ peaks: peaks.performer, annotations, grid }),
      layer2: await namesOfFilters({ peaks: peaks.layer2, annotations, grid }),
    },
    annotations,
    landmarks: annotations.y.filter((y) => !Number.isNaN(y)).length,
  };
}

function pick<Name extends string>(
  scored: ReadonlyMap<string, FilterScores>,
  names: readonly Name[],
): Record<Name, FilterScores> {
  const entries = names.map((name) => [name, scored.get(name)] as const);
  return Object.fromEntries(entries) as Record<Name, FilterScores>;
}

/** Controls that need no photograph. */
function positions(
  annotations: Annotations,
  grid: Grid,
  seed: number,
): Record<(typeof POSITION_CONTROLS)[number], Scorable> {
  const { cell } = bestFixedPosition({ annotations, grid });
  const [height, width] = sidesOf(annotations.size);
  const fixed = (position: readonly [number, number]): Scorable => ({
    ...fixedPeaks(annotations, position),
    annotations,
    top: Infinity,
  });
  const images = annotations.category.length;
  return {
    fixedPositionBest: fixed(cellCentre(grid, cell)),
    fixedPositionCentre: fixed([(height - 1) / 2, (width - 1) / 2]),
    random: { peaks: randomPeaks({ images, grid }, { seed }), annotations, grid },
  };
}

/** The scores of one set; the ratio to the performer is still to come. */
async function scoreSet({ noisy, top = TOP_IMAGES, ...input }: Scorable): Promise<FilterScores> {
  const instability = await inTurn(() => locationInstability(input, { top }));
  const parts = await inTurn(() => partMetrics(input, { top }));
  const consistent = await inTurn(() => consistency(input));
  const noise = await inTurn(() => noisy && noiseStability({ ...input, noisy }));
  const table = await tableOf(input, top);
  const follows = r2(table, parts);
  return {
    ...instability,
    peaks: input.peaks,
    vector: vectorInstability(table),
    r2: follows,
    perCategory: filtersPerCategory(table, follows),
    allCategories: allCategories(table),
    allCategoryRatio: { distance: NaN, vector: NaN },
    parts,
    consistency: consistent,
    noise,
  };
}

/** Work that waits for one turn of the event loop. */
async function inTurn<T>(work: () => T): Promise<T> {
  await new Promise(setImmediate);
  return work();
}

/** Filters that are measured in one turn. */
const AT_ONCE = 16;

async function tableOf(input: InstabilityInput, top: number): Promise<CategoryTable> {
  const table = emptyCategoryTable(input);
  for (let from = 0; from < table.filters; from += AT_ONCE) {
    const to = Math.min(from + AT_ONCE, table.filters);
    await inTurn(() => {
      fillCategoryTable(table, input, { top, from, to });
    });
  }
  return table;
}
