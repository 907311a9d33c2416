import { expect } from 'chai';
import {
  clusterScores,
  mergeFilters,
  partClusters,
  strongestFilters,
} from '../../../lib/evaluate/metrics/index.js';
import { Random } from '../../../lib/random.js';
import { failure } from '../../support/performer.js';

/** Straight from pairs and entropies, item by item. */
function anew(labels: number[], clusters: number[]): { nmi: number; ari: number } {
  const N = labels.length;
  const share = (test: (i: number) => boolean): number =>
    labels.filter((_, i) => test(i)).length / N;
  let [I, H, G] = [0, 0, 0];
  for (let i = 0; i < N; i++) {
    const l = share((j) => labels[j] === labels[i]);
    const c = share((j) => clusters[j] === clusters[i]);
    const both = share((j) => labels[j] === labels[i] && clusters[j] === clusters[i]);
    I += Math.log(both / (l * c)) / N;
    H -= Math.log(l) / N;
    G -= Math.log(c) / N;
  }
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let i = 0; i < N; i++) {
    for (let j = 0; j < i; j++) {
      const [l, k] = [labels[i] === labels[j], clusters[i] === clusters[j]];
      if (l && k) a++;
      else if (l) b++;
      else if (k) c++;
      else d++;
    }
  }
  // the form of the index in the four counts of pairs
  const ari = (2 * (a * d - b * c)) / ((a + b) * (b + d) + (a + c) * (c + d));
  return { nmi: (2 * I) / (H + G), ari };
}

describe('metrics: clusters', () => {
  it('is 1 for the labels themselves, whatever the clusters are called', () => {
    const labels = [1, 1, 2, 2, 3, 3, 3];
    for (const clusters of [labels, labels.map((label) => 10 - label)]) {
      const { nmi, ari, purity } = clusterScores(labels, clusters);
      expect(nmi).to.be.closeTo(1, 1e-15);
      expect([ari, purity]).to.deep.equal([1, 1]);
    }
  });

  it('has the values of a case by hand', () => {
    // [0 0 1 1] against [0 0 1 2]: I = ln 2, H = ln 2, G = 1.5 ln 2; R 1, A 2, B 1, E 1/3
    const found = clusterScores([0, 0, 1, 1], [0, 0, 1, 2]);
    expect(found.nmi).to.be.closeTo(0.8, 1e-15);
    expect(found.ari).to.be.closeTo((1 - 1 / 3) / (1.5 - 1 / 3), 1e-15);
    expect(found).to.include({ purity: 1, clusters: 3 });
    expect(clusterScores([0, 0, 1, 1], [0, 1, 0, 1]).nmi).to.equal(0);
    expect(clusterScores([0, 0, 1, 1], [0, 1, 0, 1]).ari).to.be.closeTo(-0.5, 1e-15);
    expect(clusterScores([0, 0, 0, 1], [5, 5, 5, 5])).to.deep.equal({
      ...{ nmi: 0, ari: 0, purity: 0.75, clusters: 1 },
    });
  });

  it('agrees with entropies and pairs counted one by one', () => {
    const random = new Random(1, 'clusters');
    for (const [n, L, K] of [
      [50, 3, 4],
      [81, 6, 2],
      [40, 2, 16],
    ] as const) {
      const labels = Array.from({ length: n }, () => random.int(L));
      const clusters = labels.map((label) => (random.uniform() < 0.5 ? label % K : random.int(K)));
      const [found, wanted] = [clusterScores(labels, clusters), anew(labels, clusters)];
      expect(found.nmi).to.be.closeTo(wanted.nmi, 1e-12);
      expect(found.ari).to.be.closeTo(wanted.ari, 1e-12);
    }
  });

  it('has ARI about 0 for random clusters, of any number, and cannot tell with one label', () => {
    const random = new Random(2, 'clusters');
    const labels = Array.from({ length: 4000 }, () => random.int(5));
    for (const K of [2, 8, 64]) {
      const { ari } = clusterScores(
        labels,
        labels.map(() => random.int(K)),
      );
      expect(Math.abs(ari), String(K)).to.be.below(0.005);
    }
    const { nmi, ari, purity } = clusterScores([1, 1, 1], [1, 2, 3]);
    expect([nmi, ari, purity]).to.deep.equal([NaN, NaN, 1]);
    expect(clusterScores([], []).purity).to.be.NaN;
  });

  it('a cell belongs to the strongest filter, loudness aside', () => {
    // filter 1 is ten times as loud; filter 2 never fires
    const values = Float32Array.from([1, 4, 0, 0.5, 9, 0, 0, 0, 0, 1, 10, 0]);
    const winners = strongestFilters({ values, filters: 3, scale: [1, 10, 0] });
    expect([...winners]).to.deep.equal([0, 1, -1, 0]);
  });

  it('merges as Ward does over the vectors themselves', () => {
    const random = new Random(3, 'clusters');
    const [cells, filters] = [60, 9];
    const values = Float32Array.from({ length: cells * filters }, () => random.uniform());
    const winners = Int32Array.from({ length: cells }, () => random.int(filters - 1));
    const z = Array.from({ length: filters }, (_, f) => {
      const column = Array.from({ length: cells }, (__, i) => values[i * filters + f] ?? 0);
      const mean = column.reduce((a, b) => a + b) / cells;
      const norm = Math.hypot(...column.map((value) => value - mean));
      return column.map((value) => (value - mean) / norm);
    });
    const won = z.map((_, f) => winners.filter((winner) => winner === f).length);
    let groups = z.flatMap((_, f) => (won[f] ? [[f]] : []));
    const weight = (group: number[]): number => group.reduce((s, f) => s + won[f]!, 0);
    const centre = (group: number[]): number[] =>
      z[0]!.map((_, i) => group.reduce((s, f) => s + won[f]! * z[f]![i]!, 0) / weight(group));
    for (let left = groups.length; left > 1; left--) {
      const found = mergeFilters({ values, filters }, winners, left);
      const members = Array.from({ length: left }, (_, g) =>
        [...found.keys()].filter((f) => found[f] === g),
      );
      const sorted = (list: number[][]): string[] =>
        list.map((group) => group.toSorted((a, b) => a - b).join()).sort();
      expect(sorted(members), `${String(left)} groups`).to.deep.equal(sorted(groups));
      expect(found[filters - 1], 'wins nothing').to.equal(-1);
      let best: [number, number, number] = [Infinity, 0, 0];
      groups.forEach((p, a) => {
        groups.slice(a + 1).forEach((q, i) => {
          const [m, n] = [weight(p), weight(q)];
          const square = Math.hypot(...centre(p).map((v, k) => v - centre(q)[k]!)) ** 2;
          const cost = ((m * n) / (m + n)) * square;
          if (cost < best[0]) best = [cost, a, a + 1 + i];
        });
      });
      const [, a, b] = best;
      groups = [
        ...groups.filter((_, g) => g !== a && g !== b),
        [...(groups[a] ?? []), ...(groups[b] ?? [])],
      ];
    }
  });

  it('filters of one part are one cluster: perfect parts have 1, however many filters they have', () => {
    const random = new Random(4, 'clusters');
    const [cells, filters, parts] = [300, 24, 4];
    const labels = Int32Array.from({ length: cells }, () => 1 + random.int(parts));
    const values = new Float32Array(cells * filters);
    labels.forEach((label, i) => {
      const loud = random.uniform(0.5, 1);
      for (let f = 0; f < filters; f++) {
        if (f % parts === label - 1) values[i * filters + f] = loud + random.uniform(0, 0.3);
      }
    });
    const scale = new Float32Array(filters).fill(1);
    const [four, eight] = partClusters({ values, filters, scale }, labels);
    expect(four?.ari).to.equal(1);
    expect(eight).to.include({ purity: 1, clusters: 8 });
    expect(eight?.ari).to.be.below(0.8);
    const silent = partClusters({ values: values.fill(0), filters, scale }, labels);
    expect(silent[0]).to.include({ nmi: 0, ari: 0, clusters: 1 });
  });

  it('refuses what does not fit', async () => {
    await failure('E_SHAPE', /3 values for clusters/, () => clusterScores([1, 2, 3], [1]));
    const values = new Float32Array(7);
    await failure('E_SHAPE', /responses/, () =>
      strongestFilters({ values, filters: 2, scale: [1, 1] }),
    );
    await failure('E_SHAPE', /responses/, () =>
      strongestFilters({ values, filters: 7, scale: [1] }),
    );
  });
});
