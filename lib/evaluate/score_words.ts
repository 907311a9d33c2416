import type { PartClusters } from './clusters.js';

/** Sets of filters in words, by their name in results; sources that a caller hands in have their own. */
export const SET_WORDS: Readonly<Record<string, string>> = {
  performer: 'performer',
  layer1: 'conv_interp_1',
  layer2: 'conv_interp_2',
  untrained: 'untrained explainer',
  energy: 'smoothed energy, one map',
  performerSmoothed: 'performer, smoothed',
  fixedPositionBest: 'best fixed position',
  fixedPositionCentre: 'image centre',
  random: 'random positions',
  pca: 'PCA',
  kmeans: 'k-means, projection',
  kmeansCosine: 'k-means, cosine > .5',
  nmf: 'NMF',
  sae: 'sparse autoencoder, 12',
};

/** What each score can be won by without following a part. */
export const FOOLED_BY: readonly (readonly [score: string, by: string])[] = [
  ['location instability', 'a fixed point near the middle of the frame'],
  ['vector instability, R2', 'a map of where the object is, not which part: the energy'],
  ['distinct filters', 'anything random; R2 of the same filters tells'],
  ['means over filters', 'filters that all serve the easiest category'],
  ['all-category ratio', 'a fixed point, and the first cell for silent filters'],
  ['purity, consistency', 'one part found again and again; parts covered tell'],
  ['parts covered', 'many filters, one of which meets a part by chance'],
];

/** What parts have to be above the best other set by, in NMI and in ARI, to be called better. */
const MARGIN = 0.1;

/**
 * Whether the clusters of conv_interp_2 show the labelled parts better than those of every other set, at the
 * most groups that were scored: above all of them by 0.1 in NMI and in ARI, or in words that they are not.
 */
export function clusterVerdict({ sets, from }: Pick<PartClusters, 'sets' | 'from'>): string {
  const last = Object.fromEntries(Object.entries(sets).map(([name, of]) => [name, of.at(-1)]));
  const [nmi, ari] = [leadOf(last, 'nmi'), leadOf(last, 'ari')];
  const above = [nmi, ari].every(({ by }) => by >= MARGIN && by < Infinity);
  const verdict = above ? 'are above' : 'are not above';
  return (
    `parts ${verdict} every other set by ${String(MARGIN)} against ${from}: ` +
    `NMI ${leadInWords(nmi)}, ARI ${leadInWords(ari)}`
  );
}

/** How well a linear readout of conv_interp_2 names parts, against the best other set. */
export function probeWords({ probes }: Pick<PartClusters, 'probes'>): string {
  const right = leadInWords(leadOf(probes, 'accuracy'));
  return `a linear readout of the parts is right on ${right} of the cells, NMI ${leadInWords(leadOf(probes, 'nmi'))}`;
}

interface Lead {
  value: number;
  /** By how much it is above the best other set, and the name of that; Infinity where there is none. */
  by: number;
  name: string;
}

/** One score of conv_interp_2, and what it is above the best other set by; layer 1 is no other set. */
function leadOf<Score extends string>(
  sets: Readonly<Record<string, Readonly<Record<Score, number>> | undefined>>,
  score: Score,
): Lead {
  const value = sets['layer2']?.[score] ?? NaN;
  return Object.entries(sets)
    .filter(([name]) => name !== 'layer1' && name !== 'layer2')
    .map(([name, scores]) => ({ value, by: value - (scores?.[score] ?? NaN), name }))
    .filter(({ by }) => !Number.isNaN(by))
    .reduce((least, one) => (one.by < least.by ? one : least), {
      ...{ value, by: Infinity, name: 'no set' },
    });
}

function leadInWords({ value, by, name }: Lead): string {
  const sign = by < 0 ? '' : '+';
  return `${value.toFixed(3)} (${sign}${by.toFixed(3)} against ${SET_WORDS[name] ?? name})`;
}
