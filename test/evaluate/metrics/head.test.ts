import { expect } from 'chai';
import { firstClass, HeadComparison, headScores } from '../../../lib/evaluate/metrics/index.js';

const ln = Math.log;

describe('head', () => {
  it('counts agreement and errors, of equal outputs the first', () => {
    const performer = Float32Array.of(2, 1, 0, /**/ 0, 5, 1, /**/ 1, 1, 0, /**/ 0, 0, 3);
    const explainer = Float32Array.of(3, 1, 0, /**/ 4, 0, 1, /**/ 7, 1, 0, /**/ 0, 2, 1);
    const scores = headScores(performer, explainer, { classes: 3, labels: [0, 1, 1, -1] });
    expect(scores).to.include({ agreement: 0.5, images: 4, labelled: 3 });
    expect(scores.performerError).to.be.closeTo(1 / 3, 1e-12);
    expect(scores.explainerError).to.be.closeTo(2 / 3, 1e-12);
    expect(firstClass(Float32Array.of(1, 1))).to.equal(0);
  });

  it('computes the mean KL divergence from logits', () => {
    // p = (1/2, 1/2), q = (1/4, 3/4), whatever is added to the logits
    const performer = Float32Array.of(1000, 1000, 0, 0);
    const explainer = Float32Array.of(-50, Math.fround(-50 + ln(3)), 0, 0);
    const wanted = 0.5 * ln(0.5 / 0.25) + 0.5 * ln(0.5 / 0.75);
    expect(headScores(performer, explainer, { classes: 2 }).kl).to.be.closeTo(wanted / 2, 1e-6);
    expect(headScores(performer, performer, { classes: 2 }).kl).to.equal(0);
  });

  it('computes it from probabilities, zeros too', () => {
    const kl = (p: number[], q: number[]): number =>
      headScores(Float32Array.from(p), Float32Array.from(q), {
        classes: p.length,
        kind: 'probabilities',
      }).kl;
    expect(kl([0.5, 0.5], [0.25, 0.75])).to.be.closeTo(0.5 * ln(2) + 0.5 * ln(2 / 3), 1e-7);
    expect(kl([1, 0], [0.5, 0.5])).to.be.closeTo(ln(2), 1e-7);
    expect(kl([0.5, 0.5], [1, 0])).to.be.within(40, 50);
  });

  it('measures all classes: mean error of logits, half L1 of the softmax', () => {
    const performer = Float32Array.of(0, 0, /**/ 1, 1);
    const explainer = Float32Array.of(0, Math.fround(ln(3)), /**/ 3, 3);
    const scores = headScores(performer, explainer, { classes: 2 });
    expect(scores.mae).to.be.closeTo((ln(3) + 4) / 4, 1e-6);
    expect(scores.halfL1).to.be.closeTo(0.25 / 2, 1e-6); // (1/2, 1/2) against (1/4, 3/4); then equal
    const far = headScores(Float32Array.of(1, 0), Float32Array.of(0, 1), {
      ...{ classes: 2, kind: 'probabilities' },
    });
    expect(far.halfL1).to.be.closeTo(1, 1e-12);
    expect(far.mae).to.be.NaN;
    const number = headScores(Float32Array.of(1, 2), Float32Array.of(2, 4), { classes: 1 });
    expect([number.mae, number.halfL1]).to.deep.equal([1.5, NaN]);
  });

  it('correlates outputs of one number', () => {
    const a = Float32Array.of(1, 2, 3, 4);
    const scores = headScores(a, Float32Array.of(2, 1, 4, 3), { classes: 1 });
    expect(scores.correlation).to.be.closeTo(0.6, 1e-12);
    expect([scores.agreement, scores.kl]).to.deep.equal([NaN, NaN]);
    expect(headScores(a, new Float32Array(4), { classes: 1 }).correlation).to.be.NaN;
    expect(headScores(a, a, { classes: 2 }).correlation).to.equal(undefined);
  });

  it('adds batches up', () => {
    const a = Float32Array.of(1, 2, 3, 4, 5, 1);
    const b = Float32Array.of(2, 1, 3, 5, 5, 0);
    const whole = headScores(a, b, { classes: 2, labels: [0, 1, 0] });
    const parts = new HeadComparison({ classes: 2 })
      .add(a.subarray(0, 2), b.subarray(0, 2), [0])
      .add(a.subarray(2), b.subarray(2), [1, 0]);
    expect(parts.scores()).to.deep.equal(whole);
  });

  it('leaves errors undefined without labels', () => {
    const scores = headScores(new Float32Array(2), new Float32Array(2), { classes: 2 });
    expect(scores.performerError).to.equal(undefined);
    expect(scores.labelled).to.equal(0);
    expect(new HeadComparison({ classes: 2 }).scores().agreement).to.be.NaN;
  });

  it('refuses arrays of other sizes', () => {
    const two = new Float32Array(2);
    for (const run of [
      () => headScores(two, new Float32Array(4), { classes: 2 }),
      () => headScores(new Float32Array(3), new Float32Array(3), { classes: 2 }),
      () => headScores(two, two, { classes: 2, labels: [1, 2] }),
    ]) {
      expect(run).to.throw().with.property('code', 'E_SHAPE');
    }
    expect(() => new HeadComparison({ classes: 0 }))
      .to.throw()
      .with.property('code', 'E_ARGUMENT');
  });
});
