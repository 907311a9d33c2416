import type { TrainOptionsInput } from '../lib/index.js';

/** One row of a table: options of training, and the seeds that its numbers are means of. */
export interface Setting extends TrainOptionsInput {
  name: string;
  /** Default 1 alone. */
  seeds?: number[];
}

const FILTERS = { filters: 96 } as const;
/** The published loss behind the decoder `own`: maps alone, no gates. */
const MAPS_ALONE = { ...FILTERS, appearance: 0 } as const;

/** The default, what it replaces, and each of its parts left out or changed. */
export const SETTINGS: readonly Setting[] = [
  { name: 'default', ...FILTERS, seeds: [1, 2, 3] },
  { name: 'maps alone', ...MAPS_ALONE, seeds: [1, 2, 3] },
  { name: 'the ordinary track alone', ...FILTERS, tracks: 'ordinary' },
  { name: 'no filter loss', ...FILTERS, rho: 0 },
  { name: 'filters as they start', ...FILTERS, filterShare: 1e-6 },
  ...[32, 64, 256].map((appearance) => ({
    name: `code of ${String(appearance)} channels`,
    ...FILTERS,
    appearance,
  })),
  ...[2, 5, 14].map((gateRadius) => ({
    name: `gates of ${String(gateRadius)} cells`,
    ...FILTERS,
    gateRadius,
  })),
  { name: 'no competition in the filter loss', ...FILTERS, competition: 0 },
  { name: 'no balance', ...FILTERS, balance: 0 },
  { name: 'photographs as they are', ...FILTERS, imageNorm: 0 },
  { name: 'no masks', ...FILTERS, mask: false },
  { name: 'no ordinary track', ...FILTERS, ordinaryChannels: 0 },
  { name: 'an ordinary track that is never left out', ...FILTERS, ordinaryDropout: 0 },
  ...[0.1, 0.5, 1].map((filterShare) => ({
    name: `filters learn in ${String(100 * filterShare)} % of the steps`,
    ...FILTERS,
    filterShare,
  })),
  { name: 'diversity 0', ...FILTERS, diversity: 0 },
  { name: 'rho 1', ...FILTERS, rho: 1 },
  { name: 'rho 10', ...FILTERS, rho: 10 },
  { name: 'kernel 5', ...FILTERS, kernel: 5 },
  { name: 'k-means filters', ...FILTERS, initial: 'kmeans' },
  { name: '192 filters', filters: 192 },
];
