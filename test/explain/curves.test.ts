import { expect } from 'chai';
import { planCurves } from '../../lib/explain/curves.js';

/** Scores of an additive world: the sum of the weights of what is on. */
function scoresOf(plan: ReturnType<typeof planCurves>, weight: readonly number[]): number[] {
  const all = weight.reduce((sum, w) => sum + w, 0);
  return plan.interventions.map(({ off = [] }) => {
    return [...off].reduce((left, filter) => left - (weight[filter] ?? NaN), all);
  });
}

describe('explain: insertion and deletion curves', () => {
  it('in an additive world, few filters: every state is that of the order', () => {
    const weight = [1, 5, 3];
    const plan = planCurves([1, 2, 0], { orders: 4, seed: 1 });
    const ends = { all: 9, none: 0 };
    const { deletion, insertion } = plan.curves(scoresOf(plan, weight), ends);
    expect(deletion.share).to.deep.equal([0, 1 / 3, 2 / 3, 1]);
    expect(deletion.parts).to.deep.equal([9, 4, 1, 0]);
    expect(insertion.parts).to.deep.equal([0, 5, 8, 9]);
    expect(deletion.area.parts).to.be.closeTo((4.5 + 4 + 1) / 3, 1e-12);
    expect(insertion.area.parts).to.be.closeTo((5 + 8 + 4.5) / 3, 1e-12);
    // An order and its reverse are symmetric about the diagonal: their mean is exact.
    expect(deletion.area.random).to.be.closeTo(4.5, 1e-12);
    expect(insertion.area.random).to.be.closeTo(4.5, 1e-12);
    deletion.random.forEach((value, k) => {
      expect(value, `random ${k}`).to.be.closeTo(9 * (1 - k / 3), 9 / 3);
    });
  });

  it('with many filters: at most 21 points, the ends given, the best order first', () => {
    const weight = Array.from({ length: 205 }, (_, i) => ((i * 37) % 205) - 40);
    const ranked = [...weight.keys()].sort((a, b) => weight[b]! - weight[a]!);
    const plan = planCurves(ranked, { orders: 6, seed: 3 });
    expect(plan.interventions).to.have.length(19 * 8);
    const all = weight.reduce((sum, w) => sum + w, 0);
    const { deletion, insertion } = plan.curves(scoresOf(plan, weight), { all, none: 0 });
    for (const curve of [deletion, insertion]) {
      expect(curve.share).to.have.length(21);
      expect([curve.share[0], curve.share.at(-1)]).to.deep.equal([0, 1]);
      expect(curve.area.deviation).to.be.above(0);
    }
    insertion.share.forEach((share, k) => {
      const on = ranked.slice(0, Math.round(share * 205));
      const wanted = on.reduce((sum, f) => sum + weight[f]!, 0);
      expect(insertion.parts[k], `insertion ${k}`).to.be.closeTo(wanted, 1e-9);
    });
    expect(deletion.area.parts).to.be.below(deletion.area.random - 5 * deletion.area.deviation);
    expect(insertion.area.parts).to.be.above(insertion.area.random + 5 * insertion.area.deviation);
  });

  it('the same seed gives the same orders; none and one filter are no special case', () => {
    const plan = (seed: number) => planCurves([4, 2, 7, 1], { orders: 2, seed }).interventions;
    expect(plan(1)).to.deep.equal(plan(1));
    expect(plan(1)).not.to.deep.equal(plan(2));
    for (const ranked of [[], [5]]) {
      const none = planCurves(ranked, { orders: 2, seed: 1 });
      expect(none.interventions).to.have.length(0);
      const { deletion } = none.curves([], { all: 2, none: 1 });
      expect(deletion).to.deep.include({ share: [0, 1], parts: [2, 1], random: [2, 1] });
    }
  });
});
