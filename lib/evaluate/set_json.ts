import type { PartClusters } from './clusters.js';
import { CLUSTER_COUNTS, type Follow } from './metrics/index.js';
import type { SetScores } from './score_sets.js';

/** What is known of one set on samples of photographs, for JSON. */
export function setJson({ follow, clusters }: SetScores, set: string): Record<string, unknown> {
  return { follow: followJson(follow?.[set]), clusters: clustersJson(clusters, set) };
}

/** How one set of filters follows; null where it was not asked for. */
function followJson(scores: Follow | undefined): Record<string, number | null> | null {
  if (!scores) return null;
  const { mean, median, within, stay, filters, images } = scores;
  return { ...numbers({ mean, median, within, stay }), filters, images };
}

/** Clusters of one set by their number, `4`, `8`, `16`, and its linear `probe`; null where there are no labels. */
function clustersJson(
  clusters: PartClusters | undefined,
  set: string,
): Record<string, Record<string, number | null>> | null {
  const [scores, probe] = [clusters?.sets[set], clusters?.probes[set]];
  if (!scores || !probe) return null;
  const entries = scores.map(({ nmi, ari, purity }, i) => [
    String(CLUSTER_COUNTS[i]),
    numbers({ nmi, ari, purity }),
  ]);
  const { accuracy, nmi, ari } = probe;
  return {
    ...(Object.fromEntries(entries) as Record<string, Record<string, number | null>>),
    probe: numbers({ accuracy, nmi, ari }),
  };
}

/** NaN as null. */
function numbers(values: Record<string, number>): Record<string, number | null> {
  const entries = Object.entries(values);
  return Object.fromEntries(
    entries.map(([key, value]) => [key, Number.isNaN(value) ? null : value]),
  );
}
