import { expected } from '../../errors.js';

/** Filters of either set at most that are matched. */
export const MATCHED = 1024;

export interface MatchedFilters {
  /** Partner of each filter of the first set, -1 for none. */
  partner: Int32Array;
  /** Correlation with the partner, 0 for filters that have none or whose values are constant. */
  correlation: Float64Array;
  /** Mean correlation over the filters of the first set. */
  matched: number;
  /** Shares of these filters whose partner correlates by more than .5 and .7. */
  above5: number;
  above7: number;
}

/** Values of one set's maps at the same places of the same photographs, (places, filters), row-major. */
export interface FilterValues {
  values: ArrayLike<number>;
  filters: number;
}

/**
 * Matches the filters of two sets one to one, by the correlation r of their values over the same places of
 * the same photographs, so that the sum of r is largest (optimal assignment [Kuhn 1955, Jonker, Volgenant
 * 1987], O(D^3)). A part that another seed does not find is an accident. Two sets of many filters match a
 * little by chance: hold it against untrained filters of another seed. Throws `E_SHAPE`, `E_ARGUMENT` for
 * more than 1024 filters.
 */
export function matchFilters(a: FilterValues, b: FilterValues): MatchedFilters {
  const places = a.values.length / a.filters;
  if (!Number.isInteger(places) || places < 2 || b.values.length !== places * b.filters) {
    const got = [a.values.length, b.values.length];
    throw expected('values at the same places', 'a and b', got, {
      ...{ code: 'E_SHAPE', op: 'matchFilters' },
    });
  }
  if (Math.max(a.filters, b.filters) > MATCHED) {
    const got = [a.filters, b.filters];
    throw expected(`at most ${String(MATCHED)} filters`, 'a and b', got, { op: 'matchFilters' });
  }
  const [p, q] = [standardised(a, places), standardised(b, places)];
  const size = Math.max(a.filters, b.filters);
  const r = new Float64Array(size * size);
  p.forEach((x, i) => {
    q.forEach((y, j) => {
      let dot = 0;
      for (let n = 0; n < places; n++) dot += (x[n] ?? 0) * (y[n] ?? 0);
      r[i * size + j] = dot;
    });
  });
  const assigned = assign(
    r.map((value) => -value),
    size,
  );
  const partner = Int32Array.from(p, (_, i) => {
    const j = assigned[i] ?? -1;
    return j < b.filters ? j : -1;
  });
  const correlation = Float64Array.from(partner, (j, i) => (j < 0 ? 0 : (r[i * size + j] ?? 0)));
  const share = (limit: number): number =>
    correlation.filter((value) => value > limit).length / a.filters;
  return {
    partner,
    correlation,
    matched: correlation.reduce((sum, value) => sum + value, 0) / a.filters,
    above5: share(0.5),
    above7: share(0.7),
  };
}

/** Each filter's values with mean 0 and norm 1; 0 where they are constant. */
function standardised({ values, filters }: FilterValues, places: number): Float64Array[] {
  return Array.from({ length: filters }, (_, f) => {
    const z = Float64Array.from({ length: places }, (_, n) => values[n * filters + f] ?? 0);
    const centre = z.reduce((sum, value) => sum + value, 0) / places;
    const norm = Math.sqrt(z.reduce((sum, value) => sum + (value - centre) ** 2, 0));
    return z.map((value) => (norm > 0 ? (value - centre) / norm : 0));
  });
}

/**
 * Column of each row such that the sum of costs (n, n) is least: rows come in one by one, each by the
 * cheapest alternating path under the potentials u of rows and v of columns.
 */
export function assign(cost: ArrayLike<number>, n: number): Int32Array {
  const [u, v] = [new Float64Array(n), new Float64Array(n + 1)];
  const row = new Int32Array(n + 1).fill(-1); // of each column; column n is the start of a path
  for (let i = 0; i < n; i++) {
    row[n] = i;
    const least = new Float64Array(n).fill(Infinity);
    const before = new Int32Array(n).fill(n);
    const used = new Uint8Array(n + 1);
    let column = n;
    while (row[column] !== -1) {
      used[column] = 1;
      const from = row[column] ?? 0;
      let [delta, next] = [Infinity, n];
      for (let j = 0; j < n; j++) {
        if (used[j]) continue;
        const reduced = (cost[from * n + j] ?? 0) - (u[from] ?? 0) - (v[j] ?? 0);
        if (reduced < (least[j] ?? 0)) {
          least[j] = reduced;
          before[j] = column;
        }
        if ((least[j] ?? 0) < delta) [delta, next] = [least[j] ?? 0, j];
      }
      for (let j = 0; j <= n; j++) {
        if (used[j]) {
          const at = row[j] ?? 0;
          u[at] = (u[at] ?? 0) + delta;
          v[j] = (v[j] ?? 0) - delta;
        } else if (j < n) least[j] = (least[j] ?? 0) - delta;
      }
      column = next;
    }
    while (column !== n) {
      const from = before[column] ?? n;
      row[column] = row[from] ?? -1;
      column = from;
    }
  }
  const columns = new Int32Array(n);
  for (let j = 0; j < n; j++) columns[row[j] ?? 0] = j;
  return columns;
}
