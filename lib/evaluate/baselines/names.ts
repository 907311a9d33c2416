/** Codes of the same features that are no explainers, in the order in which they are told. */
export const BASELINES = ['pca', 'kmeans', 'kmeansCosine', 'nmf', 'sae'] as const;
export type BaselineName = (typeof BASELINES)[number];

/** What can be fitted: k-means gives two of them. */
export const FITS = ['pca', 'kmeans', 'nmf', 'sae'] as const;
export type FitName = (typeof FITS)[number];
