import type { FeatureStore } from '../../data/feature_store.js';
import { sampleVectors } from '../../explainer/vectors.js';
import type { TrainedExplainer } from '../../explainer/trained.js';
import type { CodeSource } from '../map_source.js';
import { EngineCode } from './engine_code.js';
import type { FitOptions, FittedCode } from './fitted.js';
import { fitKmeans } from './kmeans.js';
import { fitNmf } from './nmf.js';
import { FITS, type FitName } from './names.js';
import { fitPca } from './pca.js';
import { fitSparseAutoencoder } from './sparse_autoencoder.js';

export interface FitBaselines {
  /** Training photographs in the store, not mirrored; none: no baselines. */
  rows: readonly number[];
  /** Default all. */
  fits?: readonly FitName[] | undefined;
  signal?: AbortSignal | undefined;
  onWarning?: ((text: string) => void) | undefined;
  /** Told before each is fitted. */
  onFit?: ((baseline: string) => void) | undefined;
}

/** Codes that own memory. */
export interface OpenBaselines {
  sources: readonly CodeSource[];
  dispose(): void;
}

type Fit = (vectors: Float32Array, options: FitOptions) => Promise<FittedCode[]>;

const FIT: Record<FitName, Fit> = {
  pca: async (vectors, options) => [await fitPca(vectors, options)],
  kmeans: fitKmeans,
  nmf: async (vectors, options) => [await fitNmf(vectors, options)],
  sae: async (vectors, options) => [await fitSparseAutoencoder(vectors, options)],
};

/**
 * Fits PCA, k-means, NMF and the sparse autoencoder with as many filters as the explainer has, from the
 * run's seed, on the device of the run. NMF is left out with a warning where the layer has values below 0.
 */
export async function openBaselines(
  explainer: TrainedExplainer,
  store: FeatureStore,
  { rows, fits = FITS, signal, onWarning, onFit }: FitBaselines,
): Promise<OpenBaselines> {
  const opened: EngineCode[] = [];
  const dispose = (): void => {
    for (const code of opened) code.dispose();
  };
  if (rows.length === 0) return { sources: opened, dispose };
  const { config, performer } = explainer;
  const { channels, height, width, filters } = config.network;
  const { seed } = config.options;
  const positive = performer.layer.relu;
  const { backend, threads, precision, accuracy } = explainer.info();
  const device = { backend, threads, precision, accuracy };
  try {
    const vectors = await sampleVectors(store, rows, { seed, signal });
    for (const name of fits) {
      if (name === 'nmf' && !positive) {
        onWarning?.(`No NMF: ${performer.layer.name} has values below 0.`);
        continue;
      }
      onFit?.(name);
      for (const code of await FIT[name](vectors, { channels, filters, seed, device, signal })) {
        opened.push(await EngineCode.open(code, { channels, height, width, positive }, device));
      }
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return { sources: opened, dispose };
}
