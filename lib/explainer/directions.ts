import type { FeatureStore } from '../data/feature_store.js';
import { PartlensError } from '../errors.js';
import { Random } from '../random.js';
import { LAYER } from './features.js';
import type { InitialDirections, InitialFilters } from './initial.js';
import type { RunConfig } from './run_folder.js';
import { strongestDirections } from './strongest.js';

const SAMPLES = 16_384;
const ROUNDS = 12;

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
): Promise<InitialDirections> {
  const { channels: C, filters: D, height, width, site } = network;
  const { appearance = 0, ordinaryChannels, seed } = options;
  const identity = options.initial === 'identity' ? identityOf(D, C) : undefined;
  if (options.initial !== 'kmeans' && !site) return { interpretable: identity };
  const cells = height * width;
  const vectors = await sampleVectors(store, rows, { C, cells, seed });
  if (vectors.length === 0) {
    const text = 'The maps hold too few values other than 0 to start from.';
    throw new PartlensError('E_STATE', text, { op: 'train' });
  }
  const centres = (): InitialFilters =>
    sphericalKmeans(ofNorm1(vectors, C), { C, D, random: new Random(seed, 'kmeans') });
  const interpretable = options.initial === 'kmeans' ? centres() : identity;
  if (appearance === 0) return { interpretable, ordinary: site && centres() };
  const count = Math.max(appearance, ordinaryChannels);
  const seen = vectors.map((value) => value * network.featureScale);
  const strongest = await strongestDirections(seen, { C, count, seed });
  return {
    interpretable,
    code: strongest.slice(0, appearance * C),
    ordinaryCode: strongest.slice(0, ordinaryChannels * C),
  };
}

function identityOf(D: number, C: number): InitialFilters {
  const directions = new Float32Array(D * C);
  for (let f = 0; f < D; f++) directions[f * C + (f % C)] = 1;
  return directions;
}

/** Feature vectors, other than 0, at random positions of random rows; rows of C numbers. */
async function sampleVectors(
  store: FeatureStore,
  rows: readonly number[],
  { C, cells, seed }: { C: number; cells: number; seed: number },
): Promise<Float32Array> {
  const random = new Random(seed, 'samples');
  const chosen = Array.from(rows);
  random.shuffle(chosen);
  const images = chosen.slice(0, Math.min(chosen.length, 512));
  const perImage = Math.max(1, Math.floor(SAMPLES / images.length));
  const vectors: number[] = [];
  const maps = new Float32Array(C * cells);
  for (const row of images) {
    await store.read(LAYER, [row], maps);
    for (let i = 0; i < perImage; i++) {
      const cell = random.int(cells);
      const vector = Array.from({ length: C }, (_, c) => maps[c * cells + cell] ?? 0);
      if (vector.some((value) => value !== 0)) vectors.push(...vector);
    }
  }
  return Float32Array.from(vectors);
}

function ofNorm1(vectors: Float32Array, C: number): Float32Array {
  const result = new Float32Array(vectors.length);
  for (let at = 0; at < vectors.length; at += C) {
    const vector = vectors.subarray(at, at + C);
    const norm = Math.hypot(...vector);
    result.set(
      vector.map((value) => value / norm),
      at,
    );
  }
  return result;
}

/** Spherical k-means: D directions of norm 1 such that vectors lie close to the nearest. */
export function sphericalKmeans(
  vectors: Float32Array,
  { C, D, random }: { C: number; D: number; random: Random },
): Float32Array {
  const count = vectors.length / C;
  const centres = new Float32Array(D * C);
  const pick = (f: number): void => {
    const at = random.int(count) * C;
    centres.set(vectors.subarray(at, at + C), f * C);
  };
  for (let f = 0; f < D; f++) pick(f);
  for (let round = 0; round < ROUNDS; round++) {
    const sums = new Float64Array(D * C);
    for (let i = 0; i < count; i++) {
      const nearest = nearestCentre(vectors, i * C, centres, C);
      for (let c = 0; c < C; c++) {
        const at = nearest * C + c;
        sums[at] = (sums[at] ?? 0) + (vectors[i * C + c] ?? 0);
      }
    }
    for (let f = 0; f < D; f++) {
      const sum = sums.subarray(f * C, (f + 1) * C);
      const norm = Math.hypot(...sum);
      if (norm > 0)
        centres.set(
          sum.map((value) => value / norm),
          f * C,
        );
      else pick(f);
    }
  }
  return centres;
}

function nearestCentre(
  vectors: Float32Array,
  at: number,
  centres: Float32Array,
  C: number,
): number {
  let best = -Infinity;
  let nearest = 0;
  for (let f = 0; f * C < centres.length; f++) {
    let dot = 0;
    for (let c = 0; c < C; c++) dot += (vectors[at + c] ?? 0) * (centres[f * C + c] ?? 0);
    if (dot > best) {
      best = dot;
      nearest = f;
    }
  }
  return nearest;
}
