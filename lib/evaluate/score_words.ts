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
