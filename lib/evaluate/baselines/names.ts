/** Codes of the same features that are no explainers, in the order in which they are told. */
export const BASELINES = ['pca', 'kmeans', 'kmeansCosine', 'nmf', 'sae'] as const;
export type BaselineName = (typeof BASELINES)[number];
