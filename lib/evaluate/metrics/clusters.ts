import { expected } from '../../errors.js';

export interface ClusterScores {
  /** Normalised mutual information, 0..1; NaN where all items have one label. */
  nmi: number;
  /** Adjusted Rand index: 1 perfect, 0 as by chance; NaN where all items have one label. */
  ari: number;
  /** Share of items whose label is the most frequent one of their cluster, 0..1; NaN for no items. */
  purity: number;
  /** Clusters that have items. */
  clusters: number;
}

/**
 * How well clusters agree with labels, over items that each have one of both. With n_lc items of label l in
 * cluster c, n_l and n_c its sums, N their number:
 *
 *   nmi    = 2 I / (H(l) + H(c)),  I = sum n_lc/N log(n_lc N / (n_l n_c)),  H(x) = -sum n_x/N log(n_x/N)
 *   ari    = (R - E) / ((A + B) / 2 - E),  R = sum C(n_lc, 2),  A = sum C(n_l, 2),  B = sum C(n_c, 2),
 *            E = A B / C(N, 2),  C(n, 2) = n (n - 1) / 2
 *   purity = sum over c of max over l of n_lc / N
 *
 * NMI is divided by the arithmetic mean of both entropies, as in scikit-learn; [Strehl, Ghosh 2002] take the
 * geometric one, which is never smaller. ARI is that of [Hubert, Arabie 1985]. One cluster has NMI and ARI 0.
 * Many clusters raise purity (one for each item: 1) and NMI, not ARI. Throws `E_SHAPE`.
 */
export function clusterScores(
  labels: ArrayLike<number>,
  clusters: ArrayLike<number>,
): ClusterScores {
  const N = labels.length;
  if (clusters.length !== N) {
    throw expected(`${String(N)} values`, 'clusters', clusters.length, {
      ...{ code: 'E_SHAPE', op: 'clusterScores' },
    });
  }
  const byLabel = new Map<number, number>();
  const byCluster = new Map<number, Map<number, number>>();
  for (let i = 0; i < N; i++) {
    const [label, cluster] = [labels[i] ?? 0, clusters[i] ?? 0];
    const row = byCluster.get(cluster) ?? new Map<number, number>();
    row.set(label, (row.get(label) ?? 0) + 1);
    byCluster.set(cluster, row);
    byLabel.set(label, (byLabel.get(label) ?? 0) + 1);
  }
  const rows = [...byCluster.values()];
  const sizes = rows.map((row) => sum([...row.values()]));
  const most = sum(rows.map((row) => Math.max(...row.values())));
  const one = byLabel.size < 2;
  let [information, joint] = [0, 0];
  rows.forEach((row, c) => {
    for (const [label, n] of row) {
      const by = (byLabel.get(label) ?? 0) * (sizes[c] ?? 0);
      information += (n / N) * Math.log((n * N) / by);
      joint += pairs(n);
    }
  });
  const [ofLabels, ofClusters] = [[...byLabel.values()], sizes].map((counts) => ({
    entropy: -sum(counts.map((n) => (n / N) * Math.log(n / N))),
    pairs: sum(counts.map(pairs)),
  })) as [Counts, Counts];
  const chance = (ofLabels.pairs * ofClusters.pairs) / pairs(N);
  const best = (ofLabels.pairs + ofClusters.pairs) / 2;
  return {
    nmi: one ? NaN : Math.max(0, (2 * information) / (ofLabels.entropy + ofClusters.entropy)),
    ari: one ? NaN : best === chance ? 1 : (joint - chance) / (best - chance),
    purity: N === 0 ? NaN : most / N,
    clusters: rows.length,
  };
}

interface Counts {
  entropy: number;
  pairs: number;
}

/** What filters answer at labelled cells. */
export interface Responses {
  /** (cells, filters), row-major: values of the maps at these cells. */
  values: Float32Array;
  filters: number;
  /** What each filter is divided by, so that loudness does not decide, such as its mean peak. */
  scale: ArrayLike<number>;
}

/** The strongest filter at each cell after scaling, of equals the first; -1 where none answers. */
export function strongestFilters({ values, filters, scale }: Responses): Int32Array {
  checkResponses({ values, filters, scale });
  return Int32Array.from({ length: values.length / filters }, (_, cell) => {
    let best = -1;
    let most = 0;
    for (let f = 0; f < filters; f++) {
      const value = (values[cell * filters + f] ?? 0) / (scale[f] ?? 0);
      if (value > most && value < Infinity) {
        most = value;
        best = f;
      }
    }
    return best;
  });
}

/** Cells at most from which correlations are taken: evenly spread over all. */
const CORRELATED = 2048;

/**
 * Merges the filters that win a cell until at most `count` groups are left, by Ward's criterion [Ward 1963]:
 * the pair whose union costs least, n_a n_b / (n_a + n_b) |z_a - z_b|^2, where n is the number of cells
 * won and z a filter's values over the cells, brought to mean 0 and norm 1, so that |z_a - z_b|^2 = 2 (1 -
 * correlation); groups have their weighted means. Gives the group of each filter, -1 for those that win nothing.
 */
export function mergeFilters(
  responses: Omit<Responses, 'scale'>,
  winners: Int32Array,
  count: number,
): Int32Array {
  return new Groups(responses, winners).reduceTo(count);
}

/** Groups of filters, of which more and more are merged. */
class Groups {
  readonly #filters: number;
  /** Filters that win a cell; groups hold indexes of this list, merged ones are empty. */
  readonly #alive: number[];
  readonly #groups: number[][];
  readonly #weight: number[];
  readonly #costs: Square;

  constructor({ values, filters }: Omit<Responses, 'scale'>, winners: Int32Array) {
    const won = new Float64Array(filters);
    for (const f of winners) if (f >= 0) won[f] = (won[f] ?? 0) + 1;
    this.#filters = filters;
    this.#alive = [...won.keys()].filter((f) => (won[f] ?? 0) > 0);
    this.#groups = this.#alive.map((_, i) => [i]);
    this.#weight = this.#alive.map((f) => won[f] ?? 0);
    this.#costs = wardCosts(standardised(values, filters, this.#alive), this.#weight);
  }

  /** Merges until at most `count` groups are left, and gives the group of each filter. */
  reduceTo(count: number): Int32Array {
    let left = this.#groups.filter((group) => group.length > 0).length;
    for (; left > Math.max(1, count); left--) this.#merge(...cheapest(this.#costs, this.#groups));
    const group = new Int32Array(this.#filters).fill(-1);
    this.#groups
      .filter((members) => members.length > 0)
      .forEach((members, g) => {
        for (const i of members) group[this.#alive[i] ?? 0] = g;
      });
    return group;
  }

  /** b into a; the costs of the union by the recurrence of Lance and Williams. */
  #merge(a: number, b: number): void {
    const [groups, weight, costs] = [this.#groups, this.#weight, this.#costs];
    for (const k of groups.keys()) {
      if (k === a || k === b || groups[k]?.length === 0) continue;
      const [na, nb, nk] = [weight[a] ?? 0, weight[b] ?? 0, weight[k] ?? 0];
      const [ka, kb, ab] = [at(costs, k, a), at(costs, k, b), at(costs, a, b)];
      set(costs, k, a, ((nk + na) * ka + (nk + nb) * kb - nk * ab) / (nk + na + nb));
    }
    weight[a] = (weight[a] ?? 0) + (weight[b] ?? 0);
    groups[a]?.push(...(groups[b]?.splice(0) ?? []));
  }
}

/**
 * Clusters of labelled cells: each cell belongs to its strongest filter, filters are merged into at most
 * 4, 8, 16 groups (`mergeFilters`); cells where none answers are a cluster of their own. The scores of each
 * number of groups, in order. Throws `E_SHAPE`.
 */
export function partClusters(
  responses: Responses,
  labels: ArrayLike<number>,
  counts: readonly number[] = CLUSTER_COUNTS,
): ClusterScores[] {
  const winners = strongestFilters(responses);
  const groups = new Groups(responses, winners);
  const scores = new Map<number, ClusterScores>();
  for (const count of counts.toSorted((a, b) => b - a)) {
    const group = groups.reduceTo(count);
    const clusters = winners.map((f) => (f < 0 ? -1 : (group[f] ?? -1)));
    scores.set(count, clusterScores(labels, clusters));
  }
  return counts.flatMap((count) => scores.get(count) ?? []);
}

/** Numbers of clusters that are scored. */
export const CLUSTER_COUNTS = [4, 8, 16] as const;

function checkResponses({ values, filters, scale }: Responses): void {
  if (filters >= 1 && values.length % filters === 0 && scale.length === filters) return;
  const what = `(cells, ${String(filters)}) values and ${String(filters)} scales`;
  throw expected(what, 'responses', [values.length, scale.length], {
    ...{ code: 'E_SHAPE', op: 'partClusters' },
  });
}

/** Values of some filters over at most 2048 cells, each of mean 0 and norm 1 (or 0 where they are constant). */
function standardised(values: Float32Array, filters: number, chosen: number[]): Float64Array[] {
  const cells = values.length / filters;
  const used = Math.min(cells, CORRELATED);
  return chosen.map((f) => {
    const z = Float64Array.from({ length: used }, (_, i) => {
      return values[Math.floor((i * cells) / used) * filters + f] ?? 0;
    });
    const centre = sum(z) / used;
    const norm = Math.sqrt(sum(z.map((value) => (value - centre) ** 2)));
    return z.map((value) => (norm > 0 ? (value - centre) / norm : 0));
  });
}

/** Symmetric (n, n): the cost of each union. */
function wardCosts(z: readonly Float64Array[], weight: readonly number[]): Square {
  const n = z.length;
  const costs = { n, values: new Float64Array(n * n) };
  for (let a = 0; a < n; a++) {
    for (let b = a + 1; b < n; b++) {
      const [p, q] = [z[a] ?? new Float64Array(0), z[b] ?? new Float64Array(0)];
      let square = 0;
      for (let i = 0; i < p.length; i++) square += ((p[i] ?? 0) - (q[i] ?? 0)) ** 2;
      const [na, nb] = [weight[a] ?? 0, weight[b] ?? 0];
      set(costs, a, b, ((na * nb) / (na + nb)) * square);
    }
  }
  return costs;
}

interface Square {
  n: number;
  values: Float64Array;
}

function at({ n, values }: Square, a: number, b: number): number {
  return values[a * n + b] ?? 0;
}

function set({ n, values }: Square, a: number, b: number, value: number): void {
  values[a * n + b] = value;
  values[b * n + a] = value;
}

function cheapest(costs: Square, groups: readonly number[][]): [number, number] {
  let best: [number, number] = [0, 0];
  let least = Infinity;
  for (let a = 0; a < costs.n; a++) {
    if (groups[a]?.length === 0) continue;
    for (let b = a + 1; b < costs.n; b++) {
      if (groups[b]?.length === 0 || at(costs, a, b) >= least) continue;
      least = at(costs, a, b);
      best = [a, b];
    }
  }
  return best;
}

function pairs(n: number): number {
  return (n * (n - 1)) / 2;
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i] ?? 0;
  return total;
}
