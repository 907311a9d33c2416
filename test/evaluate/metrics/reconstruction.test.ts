import { expect } from 'chai';
import { RelativeError, relativeError } from '../../../lib/evaluate/metrics/index.js';

describe('relative error', () => {
  it('is |h - x| / |x|', () => {
    // |(0, 1, -2)| / |(3, 4, 0)| = sqrt(5) / 5
    const x = Float32Array.of(3, 4, 0);
    expect(relativeError(Float32Array.of(3, 5, -2), x)).to.be.closeTo(Math.sqrt(5) / 5, 1e-12);
    expect(relativeError(x, x)).to.equal(0);
    expect(relativeError(new Float32Array(3), x)).to.equal(1);
  });

  it('is over all batches together, not their mean', () => {
    const error = new RelativeError();
    error.add(Float32Array.of(1, 0), Float32Array.of(0, 0));
    error.add(Float32Array.of(0, 0), Float32Array.of(1, 1));
    expect(error.value).to.be.closeTo(Math.sqrt(3 / 2), 1e-12);
  });

  it('says when there is nothing to compare with', () => {
    expect(new RelativeError().value).to.be.NaN;
    expect(relativeError(Float32Array.of(1), Float32Array.of(0))).to.equal(Infinity);
    expect(() => relativeError(new Float32Array(2), new Float32Array(3)))
      .to.throw()
      .with.property('code', 'E_SHAPE');
  });
});
