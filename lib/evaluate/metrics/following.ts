import { expected } from '../../errors.js';
import type { CategoryTable } from './category_table.js';
import { mean } from './location_instability.js';

/** From this R2 on a filter counts as one that follows a part. */
export const FOLLOWS_FROM = 0.3;

export interface VectorInstability {
  /** Mean over the filters that fire, fraction of the image diagonal; NaN when none does. */
  value: number;
  /** The same for each filter; NaN for those that never fire. */
  perFilter: Float64Array;
}

/**
 * Vector instability: like location instability, of the offset instead of its length.
 *
 *   value = mean over f of mean over l of root of (var o_y + var o_x) / diagonal
 *
 * with the offset o, images and landmarks of `categoryTable`, each filter on its own category. 0 for a
 * filter that peaks at the same offset from each landmark; a fixed position gets what the landmarks
 * themselves roam, so that it cannot win on objects that move.
 */
export function vectorInstability(table: CategoryTable): VectorInstability {
  const perFilter = own(table, table.vector);
  return { value: mean(told(perFilter)), perFilter };
}

export interface R2 {
  /** Mean over the filters that fire, at most 1; NaN when none does. */
  mean: number;
  /** Mean over the distinct filters. */
  distinctMean: number;
  /** Filters that fire and duplicate no other. */
  distinct: number;
  /** Distinct filters that follow a part: R2 above `threshold`. */
  above: number;
  /** Of the best landmark of the filter's category; NaN for those that never fire. */
  perFilter: Float64Array;
  /** 1 for each filter that fires and duplicates no other. */
  isDistinct: Uint8Array;
}

/**
 * R2: which share of a part's movement over the frame a filter's peak goes along with.
 *
 *   R2(f) = max over l of 1 - (var o_y + var o_x) / (var l_y + var l_x)
 *
 * with the offset o, images and landmarks of `categoryTable`, each filter on its own category. 1: the peak
 * keeps its offset; exactly 0: it stays where it is; negative: it jumps about. `duplicateOf`: those of
 * `partMetrics`; a filter is distinct if it fires and duplicates none. Throws `E_SHAPE`.
 */
export function r2(
  table: CategoryTable,
  { duplicateOf, threshold = FOLLOWS_FROM }: { duplicateOf: Int32Array; threshold?: number },
): R2 {
  if (duplicateOf.length !== table.filters) {
    throw expected(`${String(table.filters)} filters`, 'duplicateOf', duplicateOf, {
      code: 'E_SHAPE',
      op: 'r2',
    });
  }
  const perFilter = own(table, table.r2);
  const isDistinct = Uint8Array.from(duplicateOf, (other, f) =>
    Number(other < 0 && (table.column[f] ?? -1) >= 0),
  );
  const distinct = perFilter.filter((_, f) => isDistinct[f] === 1);
  return {
    mean: mean(told(perFilter)),
    distinctMean: mean(told(distinct)),
    distinct: distinct.length,
    above: distinct.filter((value) => value > threshold).length,
    perFilter,
    isDistinct,
  };
}

export interface AllCategories {
  /** Location instability, mean over the filters that fire and all categories with landmarks. */
  distance: number;
  /** Vector instability, likewise. */
  vector: number;
}

/**
 * Both instabilities of every filter on every category with landmarks, not only on the one on which it
 * answers most: categories that are loud and easy hide no others. In a category in which a filter is silent
 * its peak is the first cell, and it counts as a fixed position there.
 */
export function allCategories(table: CategoryTable): AllCategories {
  const K = table.categories.length;
  const fires = (_: number, i: number): boolean => (table.column[Math.floor(i / K)] ?? -1) >= 0;
  return {
    distance: mean(table.distance.filter(fires)),
    vector: mean(table.vector.filter(fires)),
  };
}

export interface FiltersPerCategory {
  /** Distinct filters of each category with landmarks, by its name. */
  distinct: Record<string, number>;
  /** Those of them that follow a part: R2 above the threshold. */
  above: Record<string, number>;
  /** Categories with at least `enough` filters that follow a part. */
  served: number;
}

/**
 * Which categories have filters: how many distinct ones are scored on each category, and how many of these
 * follow a part. `scores`: `r2` of the same table; threshold as there.
 */
export function filtersPerCategory(
  table: CategoryTable,
  scores: R2,
  { threshold = FOLLOWS_FROM, enough = 3 }: { threshold?: number; enough?: number } = {},
): FiltersPerCategory {
  const count = (counts: (f: number) => boolean): number[] =>
    table.categories.map((_, k) =>
      table.column.reduce((sum, column, f) => sum + Number(column === k && counts(f)), 0),
    );
  const distinct = count((f) => scores.isDistinct[f] === 1);
  const above = count(
    (f) => scores.isDistinct[f] === 1 && (scores.perFilter[f] ?? NaN) > threshold,
  );
  const named = (counts: readonly number[]): Record<string, number> =>
    Object.fromEntries(table.categories.map((name, k) => [name, counts[k] ?? 0]));
  return {
    distinct: named(distinct),
    above: named(above),
    served: above.filter((filters) => filters >= enough).length,
  };
}

/** A value for each filter, on its own category; NaN if it never fires. */
function own({ column, categories }: CategoryTable, values: Float64Array): Float64Array {
  return Float64Array.from(column, (k, f) =>
    k < 0 ? NaN : (values[f * categories.length + k] ?? NaN),
  );
}

function told(values: Float64Array): Float64Array {
  return values.filter((value) => !Number.isNaN(value));
}
