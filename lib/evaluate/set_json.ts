import { CLUSTER_COUNTS, type ClusterScores, type Follow } from './metrics/index.js';
import type { SetScores } from './score_sets.js';

/** What is known of one set on samples of photographs, for JSON. */
export function setJson({ follow, clusters }: SetScores, set: string): Record<string, unknown> {
  return { follow: followJson(follow?.[set]), clusters: clustersJson(clusters?.sets[set]) };
}

/** How one set of filters follows; null where it was not asked for. */
function followJson(scores: Follow | undefined): Record<string, number | null> | null {
  if (!scores) return null;
  const { mean, median, within, stay, filters, images } = scores;
  return { ...numbers({ mean, median, within, stay }), filters, images };
}

/** Clusters of one set by their number, `4`, `8`, `16`; null where there are no labels. */
function clustersJson(
  scores: readonly ClusterScores[] | undefined,
): Record<string, Record<string, number | null>> | null {
  if (!scores) return null;
  const entries = scores.map(({ nmi, ari, purity }, i) => [
    String(CLUSTER_COUNTS[i]),
    numbers({ nmi, ari, purity }),
  ]);
  return Object.fromEntries(entries) as Record<string, Record<string, number | null>>;
}

/** NaN as null. */
function numbers(values: Record<string, number>): Record<string, number | null> {
  const entries = Object.entries(values);
  return Object.fromEntries(
    entries.map(([key, value]) => [key, Number.isNaN(value) ? null : value]),
  );
}
