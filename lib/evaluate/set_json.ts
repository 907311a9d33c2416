import type { Follow } from './metrics/index.js';

/** How one set of filters follows; null where it was not asked for. */
export function followJson(scores: Follow | undefined): Record<string, number | null> | null {
  if (!scores) return null;
  const { mean, median, within, stay, filters, images } = scores;
  return { ...numbers({ mean, median, within, stay }), filters, images };
}

/** NaN as null. */
function numbers(values: Record<string, number>): Record<string, number | null> {
  const entries = Object.entries(values);
  return Object.fromEntries(
    entries.map(([key, value]) => [key, Number.isNaN(value) ? null : value]),
  );
}
