import type { FeatureStore } from '../data/feature_store.js';
import { PartlensError } from '../errors.js';
import type { DeviceOptions } from '../engine/session.js';
import { pacer } from '../pace.js';
import type { InitialDirections, InitialFilters } from './initial.js';
import { sphericalKmeans } from './kmeans.js';
import { strongestDirections } from './principal.js';
import { RowProducts } from './row_products.js';
import type { RunConfig } from './run_folder.js';
import { ofNorm1, rowNorms, sampleVectors } from './vectors.js';

/**
 * What filters start from. `conv_interp_1` by the option `initial`: random; `identity`: one channel of the
 * layer each, repeated when there are more filters; `kmeans`: directions of spherical k-means over the
 * layer's feature vectors, drawn from training images in proportion to nothing but position. With the
 * decoder `own` `conv_ordin` starts from such directions too, so that the code holds what the maps do. With
 * appearance, its code and the ordinary track start from the directions in which the features are strongest, and so
 * do the channels that `conv_interp_1` reads (`contextChannels`), along which its directions are then told.
 */
export async function initialDirections(
  store: FeatureStore,
  rows: readonly number[],
  { network, options }: RunConfig,
  device: DeviceOptions = {},
): Promise<InitialDirections> {
  const { channels: C, filters: D, site } = network;
  const { appearance = 0, ordinaryChannels, seed } = options;
  const context = Math.min(options.contextChannels ?? 0, C);
  const identity = options.initial === 'identity' ? identityOf(D, C) : undefined;
  if (options.initial !== 'kmeans' && !site && context === 0) return { interpretable: identity };
  const vectors = await sampleVectors(store, rows, { seed });
  if (vectors.every((value) => value === 0)) {
    const text = 'The maps hold too few values other than 0 to start from.';
    throw new PartlensError('E_STATE', text, { op: 'train' });
  }
  const centres = (): Promise<InitialFilters> => centresOf(vectors, { C, D, seed, device });
  const chosen = options.initial === 'kmeans' ? await centres() : identity;
  const ordinary = appearance === 0 && site ? await centres() : undefined;
  const count = Math.max(context, ...(appearance > 0 ? [appearance, ordinaryChannels] : []));
  if (count === 0) return { interpretable: chosen, ordinary };
  const seen = vectors.map((value) => value * network.featureScale);
  const strongest = await strongestDirections(seen, { channels: C, count, seed, device });
  const first = (channels: number): InitialFilters => strongest.slice(0, channels * C);
  const interpretable = chosen && context > 0 ? await within(chosen, first(context), C) : chosen;
  return {
    ...{ interpretable, ordinary, context: first(context) },
    ...(appearance > 0 ? { code: first(appearance), ordinaryCode: first(ordinaryChannels) } : {}),
  };
}

/**
 * Directions (rows of C numbers) told along others that are orthogonal, of any length: (rows, K), the weights that
 * answer to x . other_k as the direction does to x, each of norm 1 again.
 */
export async function within(
  directions: InitialFilters,
  along: InitialFilters,
  C: number,
): Promise<InitialFilters> {
  const [rows, K] = [directions.length / C, along.length / C];
  const rest = pacer();
  const squares = (await rowNorms(along, C)).map((norm) => norm ** 2);
  const result = new Float32Array(rows * K);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < K; k++) {
      let dot = 0;
      for (let c = 0; c < C; c++) {
        dot += (directions[row * C + c] ?? 0) * (along[k * C + c] ?? 0);
      }
      const square = squares[k] ?? 0;
      result[row * K + k] = square > 0 ? dot / square : 0;
    }
    await rest();
  }
  return ofNorm1(result, K);
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
