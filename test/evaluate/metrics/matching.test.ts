import { expect } from 'chai';
import { assign, matchFilters } from '../../../lib/evaluate/metrics/index.js';
import { Random } from '../../../lib/random.js';
import { failure } from '../../support/performer.js';

/** Least sum over all permutations. */
function bestSum(
  cost: ArrayLike<number>,
  n: number,
  row = 0,
  used: readonly number[] = [],
): number {
  if (row === n) return 0;
  const sums = Array.from({ length: n }, (_, j) =>
    used.includes(j)
      ? Infinity
      : (cost[row * n + j] ?? 0) + bestSum(cost, n, row + 1, [...used, j]),
  );
  return Math.min(...sums);
}

describe('metrics: matchFilters', () => {
  const random = new Random(1, 'matching');
  const values = Float64Array.from({ length: 40 * 5 }, () => random.uniform());
  const order = [3, 0, 4, 1, 2];
  const permuted = (scale: number, shift: number): Float64Array =>
    values.map((_, i) => {
      const [place, f] = [Math.floor(i / 5), i % 5];
      return scale * (values[place * 5 + (order[f] ?? 0)] ?? 0) + shift;
    });

  it('a permuted, scaled copy matches with 1', () => {
    const a = { values, filters: 5 };
    const found = matchFilters(a, { values: permuted(3, -1), filters: 5 });
    expect([...found.partner]).to.deep.equal([1, 3, 4, 0, 2]);
    expect(found.matched).to.be.closeTo(1, 1e-12);
    expect([found.above5, found.above7]).to.deep.equal([1, 1]);
  });

  it('one to one: two copies of a filter find one partner; constant filters none', () => {
    const a = { values: [0, 0, 0, 1, 1, 0, 2, 2, 0, 3, 3, 0], filters: 3 };
    const b = { values: [0, 5, 1, 5, 2, 5, 3, 5], filters: 2 };
    const { correlation, partner, matched, above7 } = matchFilters(a, b);
    expect([...correlation].filter((r) => r > 0.999)).to.have.length(1);
    expect([...partner].filter((j) => j >= 0)).to.have.members([0, 1]);
    expect(matched).to.be.closeTo(1 / 3, 1e-12);
    expect(above7).to.be.closeTo(1 / 3, 1e-12);
  });

  it('the assignment is the best of all permutations', () => {
    for (let n = 1; n <= 6; n++) {
      for (let trial = 0; trial < 10; trial++) {
        const cost = Float64Array.from({ length: n * n }, () => random.uniform() - 0.5);
        const columns = assign(cost, n);
        expect([...columns].sort()).to.deep.equal([...Array(n).keys()]);
        const sum = columns.reduce((total, j, i) => total + (cost[i * n + j] ?? NaN), 0);
        expect(sum).to.be.closeTo(bestSum(cost, n), 1e-12);
      }
    }
  });

  it('refuses other places, and more than 1024 filters', async () => {
    const a = { values, filters: 5 };
    await failure('E_SHAPE', /the same places/, () => matchFilters(a, { values, filters: 4 }));
    const many = { values: new Float32Array(2 * 1025), filters: 1025 };
    await failure('E_ARGUMENT', /at most 1024/, () => matchFilters(many, many));
  });
});
