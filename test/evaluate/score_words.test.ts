import { expect } from 'chai';
import type { ClusterScores } from '../../lib/evaluate/metrics/index.js';
import type { ProbeScores } from '../../lib/evaluate/probe.js';
import { clusterVerdict, probeWords } from '../../lib/evaluate/score_words.js';

const of = (nmi: number, ari: number): ClusterScores[] => [
  { nmi: 1, ari: 1, purity: 1, clusters: 4 },
  { nmi, ari, purity: 0.5, clusters: 16 },
];

describe('evaluate: what the clusters say', () => {
  it('parts are above every other set, or they are not', () => {
    const sets = { performer: of(0.2, 0.1), layer1: of(0.9, 0.9), layer2: of(0.5, 0.4) };
    const verdict = (more: Record<string, ClusterScores[]>): string =>
      clusterVerdict({ from: 'masks', sets: { ...sets, ...more } });
    expect(verdict({})).to.equal(
      'parts are above every other set by 0.1 against masks: ' +
        'NMI 0.500 (+0.300 against performer), ARI 0.400 (+0.300 against performer)',
    );
    expect(verdict({ energy: of(0.1, 0.35) })).to.match(
      /^parts are not above .*ARI 0.400 \(\+0.050 against smoothed energy/,
    );
    expect(verdict({ kmeans: of(0.6, 0) })).to.match(
      /are not .*NMI 0.500 \(-0.100 against k-means/,
    );
    expect(verdict({ empty: of(NaN, NaN) }), 'a set without scores says nothing').to.match(
      /are above/,
    );
    expect(verdict({ layer2: of(NaN, NaN) })).to.match(/are not above/);
    expect(clusterVerdict({ from: 'masks', sets: { layer2: of(0.5, 0.4) } })).to.match(/are not/);
  });

  it('a linear readout is held against the best other set', () => {
    const of = (accuracy: number, nmi: number): ProbeScores => ({
      ...{ accuracy, nmi },
      ...{ ari: 0.3, majority: 0.4 },
    });
    const probes = {
      layer1: of(0.9, 0.9),
      layer2: of(0.7, 0.4),
      nmf: of(0.6, 0.5),
      energy: of(0.4, 0),
    };
    expect(probeWords({ probes })).to.equal(
      'a linear readout of the parts is right on 0.700 (+0.100 against NMF) of the cells, NMI 0.400 (-0.100 against NMF)',
    );
  });
});
