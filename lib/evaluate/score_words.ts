import type { PartClusters } from './clusters.js';
import type { ClusterScores } from './metrics/index.js';

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
  const last = (name: string): ClusterScores | undefined => sets[name]?.at(-1);
  const others = Object.keys(sets).filter((name) => name !== 'layer1' && name !== 'layer2');
  const lead = (score: 'nmi' | 'ari'): { by: number; name: string } =>
    others
      .map((name) => ({
        by: (last('layer2')?.[score] ?? NaN) - (last(name)?.[score] ?? NaN),
        name,
      }))
      .filter(({ by }) => !Number.isNaN(by))
      .reduce((least, one) => (one.by < least.by ? one : least), { by: Infinity, name: 'no set' });
  const [nmi, ari] = [lead('nmi'), lead('ari')];
  const above = [nmi, ari].every(({ by }) => by >= MARGIN && by < Infinity);
  const of = ({ by, name }: typeof nmi): string =>
    `${by < 0 ? '' : '+'}${by.toFixed(3)} against ${SET_WORDS[name] ?? name}`;
  const own = last('layer2');
  const scores = `NMI ${(own?.nmi ?? NaN).toFixed(3)} (${of(nmi)}), ARI ${(own?.ari ?? NaN).toFixed(3)} (${of(ari)})`;
  const verdict = above ? 'are above' : 'are not above';
  return `parts ${verdict} every other set by ${String(MARGIN)} against ${from}: ${scores}`;
}
