import { expect } from 'chai';
import { planShapley, type ShapleyValues } from '../../lib/explain/shapley.js';
import { Random } from '../../lib/random.js';
import { failure } from '../support/performer.js';

type Game = (members: readonly number[]) => number;

function play(players: number, game: Game, orders = 16, seed = 1): ShapleyValues {
  const plan = planShapley(players, { orders, seed });
  return plan.values(plan.coalitions.map(game));
}

/** A game of which every coalition has a value of its own. */
function drawnGame(players: number): Game {
  const random = new Random(5);
  const values = Array.from({ length: 2 ** players }, () => random.normal());
  return (members) => values[members.reduce((bits, player) => bits + 2 ** player, 0)] ?? NaN;
}

/** Mean over all orders of what a player adds to those before it. */
function byOrders(players: number, game: Game): number[] {
  const sums = new Array<number>(players).fill(0);
  let count = 0;
  const walk = (before: number[], left: number[]): void => {
    if (left.length === 0) {
      before.forEach((player, k) => {
        sums[player]! += game(before.slice(0, k + 1)) - game(before.slice(0, k));
      });
      count++;
    }
    for (const next of left)
      walk(
        [...before, next],
        left.filter((player) => player !== next),
      );
  };
  walk([], [...sums.keys()]);
  return sums.map((sum) => sum / count);
}

const sumOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

describe('explain: Shapley values', () => {
  it('are the mean over all orders, and sum to all minus none', () => {
    for (const players of [0, 1, 2, 5]) {
      const game = drawnGame(players);
      const { values, errors, exact, coalitions } = play(players, game);
      expect([exact, coalitions]).to.deep.equal([true, 2 ** players]);
      byOrders(players, game).forEach((wanted, i) => {
        expect(values[i]).to.be.closeTo(wanted, 1e-12);
      });
      const all = Array.from({ length: players }, (_, i) => i);
      expect(sumOf(values)).to.be.closeTo(game(all) - game([]), 1e-12);
      expect(errors).to.deep.equal(all.map(() => 0));
    }
  });

  it('equal players get equal values, one that adds nothing gets 0', () => {
    // A majority of three of four, and a fifth without a say.
    const game: Game = (members) => Number(members.filter((player) => player < 4).length >= 3);
    const { values } = play(5, game);
    for (const value of values.slice(0, 4)) expect(value).to.be.closeTo(1 / 4, 1e-12);
    expect(values[4]).to.equal(0);
  });

  it('beyond eight players are sampled: they still sum to the whole, errors tell how far off', () => {
    const weights = Array.from({ length: 12 }, (_, i) => i - 4);
    const additive: Game = (members) => sumOf(members.map((player) => weights[player] ?? NaN));
    const simple = play(12, additive);
    expect(simple.exact).to.equal(false);
    simple.values.forEach((value, i) => expect(value).to.be.closeTo(weights[i]!, 1e-12));
    simple.errors.forEach((error) => expect(error).to.be.closeTo(0, 1e-12));
    // Nine players, all of whose coalitions are known: errors are as large as the sample is off.
    const game: Game = (members) => Math.sqrt(20 + sumOf(members.map((player) => player + 1)));
    const all = [...Array(9).keys()];
    const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));
    const wanted = all.map((player) => {
      let sum = 0;
      for (let bits = 0; bits < 2 ** 9; bits++) {
        const members = all.filter((other) => bits & (1 << other));
        if (members.includes(player)) continue;
        const weight = (factorial(members.length) * factorial(8 - members.length)) / factorial(9);
        sum += weight * (game([...members, player]) - game(members));
      }
      return sum;
    });
    const off = [1, 2, 3, 4, 5, 6].flatMap((seed) => {
      const { values, errors } = play(9, game, 64, seed);
      expect(sumOf(values)).to.be.closeTo(game(all) - game([]), 1e-9);
      return values.map((value, i) => (value - wanted[i]!) / errors[i]!);
    });
    const size = Math.sqrt(sumOf(off.map((z) => z * z)) / off.length);
    expect(size, 'in standard errors').to.be.within(0.6, 1.6);
    expect(play(9, game, 64)).to.deep.equal(play(9, game, 64));
    expect(play(9, game, 64, 2).values).not.to.deep.equal(play(9, game, 64).values);
  });

  it('ask for no coalition twice', () => {
    const keys = planShapley(10, { orders: 8, seed: 1 }).coalitions.map((members) =>
      members.join(),
    );
    expect(new Set(keys).size).to.equal(keys.length);
    expect(keys.length).to.be.within(10, 8 * 9 + 2);
  });

  it('refuse odd numbers of orders, and scores of other coalitions', async () => {
    await failure('E_ARGUMENT', /even number >= 2 for orders/, () => play(3, drawnGame(3), 3));
    await failure('E_SHAPE', /8 values of coalitions/, () =>
      planShapley(3, { orders: 2, seed: 1 }).values([1]),
    );
  });
});
