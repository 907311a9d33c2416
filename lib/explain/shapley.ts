import { expected } from '../errors.js';
import { deviation, mean } from '../evaluate/metrics/index.js';
import { Random } from '../random.js';

/** Players with all coalitions computed: 2^8 = 256. */
export const EXACT = 8;

export interface ShapleyValues {
  /** One for each player; their sum is the value of all minus the value of none, sampled or not. */
  values: number[];
  /** Standard error of each; 0 where exact. */
  errors: number[];
  exact: boolean;
  /** Coalitions whose value was asked for. */
  coalitions: number;
}

/** The coalitions whose values are needed, and what follows from them. */
export interface ShapleyPlan {
  /** Players of each coalition, ascending; no coalition twice. */
  coalitions: readonly (readonly number[])[];
  /** `scores`: the value of each coalition, in their order. Throws `E_SHAPE`. */
  values: (scores: ArrayLike<number>) => ShapleyValues;
}

/**
 * Shapley values of a game of few players: what each adds to those before it, mean over all orders.
 * [Shapley 1953]
 *
 *   phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S and i) - v(S))
 *
 * Exact up to 8 players. Beyond, the mean over `orders` random orders, each with its reverse
 * [Castro, Gomez, Tejada 2009; Mitchell et al. 2022], with the standard error between such pairs; NaN where
 * there is one pair alone. Seeded. Throws `E_ARGUMENT` unless `orders` is an even number >= 2.
 */
export function planShapley(
  players: number,
  { orders, seed }: { orders: number; seed: number },
): ShapleyPlan {
  if (!Number.isInteger(orders) || orders < 2 || orders % 2 !== 0) {
    throw expected('an even number >= 2', 'orders', orders, { op: 'shapley' });
  }
  const all = Array.from({ length: players }, (_, player) => player);
  const book = new Coalitions();
  const exact = players <= EXACT;
  const paths = exact ? [] : drawnOrders(all, { orders, seed });
  if (exact) {
    for (let bits = 0; bits < 2 ** players; bits++) {
      book.place(all.filter((player) => bits & (1 << player)));
    }
  } else {
    for (const order of paths) order.forEach((_, k) => book.place(order.slice(0, k)));
    book.place(all);
  }
  return {
    coalitions: book.list,
    values(scores) {
      if (scores.length !== book.list.length) {
        const what = `${String(book.list.length)} values of coalitions`;
        throw expected(what, 'scores', scores.length, { code: 'E_SHAPE', op: 'shapley' });
      }
      const value = (members: readonly number[]): number => scores[book.place(members)] ?? NaN;
      const found = exact ? exactValues(all, value) : sampledValues(all, paths, value);
      return { ...found, exact, coalitions: book.list.length };
    },
  };
}

type Value = (members: readonly number[]) => number;

function exactValues(
  all: readonly number[],
  value: Value,
): Pick<ShapleyValues, 'values' | 'errors'> {
  const n = all.length;
  // |S|! (n - |S| - 1)! / n! = 1 / (n binomial(n - 1, |S|))
  const weight = [1 / n];
  for (let k = 1; k < n; k++) weight.push(((weight[k - 1] ?? 0) * k) / (n - k));
  const values = all.map((player) => {
    const others = all.filter((other) => other !== player);
    let sum = 0;
    for (let bits = 0; bits < 2 ** others.length; bits++) {
      const members = others.filter((_, i) => bits & (1 << i));
      sum += (weight[members.length] ?? 0) * (value([...members, player]) - value(members));
    }
    return sum;
  });
  return { values, errors: all.map(() => 0) };
}

function sampledValues(
  all: readonly number[],
  paths: readonly (readonly number[])[],
  value: Value,
): Pick<ShapleyValues, 'values' | 'errors'> {
  const gains = paths.map((order) => {
    const gain = new Float64Array(all.length);
    order.forEach((player, k) => {
      gain[player] = value(order.slice(0, k + 1)) - value(order.slice(0, k));
    });
    return gain;
  });
  const pairs = all.map((player) =>
    gains.flatMap((gain, i) =>
      i % 2 === 0 ? [((gain[player] ?? NaN) + (gains[i + 1]?.[player] ?? NaN)) / 2] : [],
    ),
  );
  return {
    values: pairs.map(mean),
    errors: pairs.map((list) => (list.length < 2 ? NaN : deviation(list) / Math.sqrt(list.length))),
  };
}

function drawnOrders(
  all: readonly number[],
  { orders, seed }: { orders: number; seed: number },
): number[][] {
  const random = new Random(seed, 'explain/shapley');
  return Array.from({ length: orders / 2 }, () => {
    const order = random.shuffle([...all]);
    return [order, order.toReversed()];
  }).flat();
}

/** Coalitions, each once, in the order in which they came. */
class Coalitions {
  readonly list: number[][] = [];
  readonly #places = new Map<string, number>();

  /** The place of a coalition in the list, where it is put if it is new. */
  place(members: readonly number[]): number {
    const sorted = [...members].sort((a, b) => a - b);
    const key = sorted.join();
    const known = this.#places.get(key);
    if (known !== undefined) return known;
    this.#places.set(key, this.list.length);
    return this.list.push(sorted) - 1;
  }
}
