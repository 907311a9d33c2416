import { deviation, mean } from '../evaluate/metrics/index.js';
import { Random } from '../random.js';
import type { Curve } from './explanation.js';
import type { Intervention } from '../explainer/interventions.js';

/** Steps of a curve with more filters than that. */
const STEPS = 20;

/** The interventions of both curves, and how their scores become the curves. */
export interface CurvePlan {
  interventions: Intervention[];
  /** `scores`: one for each intervention; `all`, `none`: with all filters on, off. */
  curves: (
    scores: ArrayLike<number>,
    ends: { all: number; none: number },
  ) => { deletion: Curve; insertion: Curve };
}

/**
 * Deletion switches filters off in an order, insertion switches them on; both end where the other
 * begins. Inserting in an order visits the states of deleting in the reversed order, backwards: random
 * orders come in pairs, each with its reverse, and serve both curves.
 */
export function planCurves(
  ranked: readonly number[],
  { orders, seed }: { orders: number; seed: number },
): CurvePlan {
  const filters = ranked.length;
  const steps = Math.min(STEPS, filters);
  const counts = Array.from({ length: steps + 1 }, (_, k) => Math.round((k * filters) / steps));
  const random = new Random(seed, 'explain/curves');
  const pairs = Array.from({ length: orders / 2 }, () => {
    const order = Array.from(random.permutation(filters), (i) => ranked[i] ?? 0);
    return [order, order.toReversed()];
  });
  const inner = counts.slice(1, -1);
  const deletions = [ranked, ranked.toReversed(), ...pairs.flat()];
  const interventions = deletions.flatMap((order) =>
    inner.map((count) => ({ off: order.slice(0, count) })),
  );
  return {
    interventions,
    curves(scores, { all, none }) {
      const share = filters === 0 ? [0, 1] : counts.map((count) => count / filters);
      const paths = deletions.map((_, d) => {
        const from = d * inner.length;
        return [all, ...inner.map((_, k) => scores[from + k] ?? NaN), none];
      });
      const [parts = [], reversed = [], ...rest] = paths;
      const inserted = share.map((value) => 1 - value).toReversed();
      return {
        deletion: curveOf(share, parts, rest),
        insertion: curveOf(
          inserted,
          reversed.toReversed(),
          rest.map((path) => path.toReversed()),
        ),
      };
    },
  };
}

function curveOf(share: number[], parts: number[], orders: readonly number[][]): Curve {
  const areas = orders.map((order) => area(share, order));
  return {
    share,
    parts,
    random: share.map((_, k) => mean(orders.map((order) => order[k] ?? NaN))),
    area: { parts: area(share, parts), random: mean(areas), deviation: deviation(areas) },
  };
}

/** Integral of a polygon over x from 0 to 1. */
function area(x: readonly number[], y: readonly number[]): number {
  let sum = 0;
  for (let k = 1; k < x.length; k++) {
    sum += (((x[k] ?? 0) - (x[k - 1] ?? 0)) * ((y[k] ?? 0) + (y[k - 1] ?? 0))) / 2;
  }
  return sum;
}
