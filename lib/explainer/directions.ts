import type { FeatureStore } from '../data/feature_store.js';
import { PartlensError } from '../errors.js';
import type { DeviceOptions } from '../engine/session.js';
import type { InitialDirections, InitialFilters } from './initial.js';
import { sphericalKmeans } from './kmeans.js';
import { strongestDirections } from './principal.js';
import { RowProducts } from './row_products.js';
import type { RunConfig } from './run_folder.js';
import { ofNorm1, sampleVectors } from './vectors.js';

/**
 * What filters start from. `conv_interp_1` by the option `initial`: random; `identity`: one channel of the
 * layer each, repeated when there are more filters; `kmeans`: directions of spherical k-means over the
 * layer's feature vectors, drawn from training images in proportion to nothing but position. With the
 * decoder `own` `conv_ordin` starts from such directions too, so that the code holds what the maps do. With
 * appearance, its code and the ordinary track start from the directions in which the features are strongest.
 */
export async function initialDirections(
  store: FeatureStore,
  rows: readonly number[],
  { network, options }: RunConfig,
  device: DeviceOptions = {},
): Promise<InitialDirections> {
  const { channels: C, filters: D, site } = network;
  const { appearance = 0, ordinaryChannels, seed } = options;
  const identity = options.initial === 'identity' ? identityOf(D, C) : undefined;
  if (options.initial !== 'kmeans' && !site) return { interpretable: identity };
  const vectors = await sampleVectors(store, rows, { seed });
  if (vectors.every((value) => value === 0)) {
    const text = 'The maps hold too few values other than 0 to start from.';
    throw new PartlensError('E_STATE', text, { op: 'train' });
  }
  const centres = (): Promise<InitialFilters> => centresOf(vectors, { C, D, seed, device });
  const interpretable = options.initial === 'kmeans' ? await centres() : identity;
  if (appearance === 0) return { interpretable, ordinary: site && (await centres()) };
  const count = Math.max(appearance, ordinaryChannels);
  const seen = vectors.map((value) => value * network.featureScale);
  const strongest = await strongestDirections(seen, { channels: C, count, seed, device });
  return {
    interpretable,
    code: strongest.slice(0, appearance * C),
    ordinaryCode: strongest.slice(0, ordinaryChannels * C),
  };
}

/** D centres of vectors that count alike, however strong. */
async function centresOf(
  vectors: Float32Array,
  { C, D, seed, device }: { C: number; D: number; seed: number; device: DeviceOptions },
): Promise<InitialFilters> {
  const alike = await ofNorm1(vectors, C);
  const sizes = { rows: alike.length / C, channels: C, filters: D };
  const products = await RowProducts.open(alike, sizes, device);
  try {
    return await sphericalKmeans(alike, products, { channels: C, filters: D, seed });
  } finally {
    products.dispose();
  }
}

function identityOf(D: number, C: number): InitialFilters {
  const directions = new Float32Array(D * C);
  for (let f = 0; f < D; f++) directions[f * C + (f % C)] = 1;
  return directions;
}
