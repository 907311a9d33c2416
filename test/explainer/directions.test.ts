import { expect } from 'chai';
import { within } from '../../lib/explainer/directions.js';

describe('explainer: directions told along channels', () => {
  it('answer as they do to features, whatever the length of the channels', async () => {
    const along = Float32Array.of(0.6 / 8, 0.8 / 8, -0.8 * 3, 0.6 * 3); // orthogonal, of norm 1/8 and 3
    const directions = Float32Array.of(1, 0, 0, 1, 0.6, 0.8);
    const told = await within(directions, along, 2);
    const found: number[][] = [];
    for (const x of [
      [2, 5],
      [-1, 0.25],
    ]) {
      const dot = (of: Float32Array, row: number, by: readonly number[]): number =>
        by.reduce((sum, value, c) => sum + value * (of[row * 2 + c] ?? NaN), 0);
      const channels = [0, 1].map((k) => dot(along, k, x));
      const ratios = [0, 1, 2].map((row) => dot(told, row, channels) / dot(directions, row, x));
      // Each is of norm 1 again, so that answers are told up to a factor of its own, which x does not change.
      found.push(ratios);
    }
    found[0]?.forEach((ratio, row) => expect(ratio).to.be.closeTo(found[1]?.[row] ?? NaN, 1e-5));
    for (let row = 0; row < 3; row++) {
      expect(Math.hypot(...told.subarray(2 * row, 2 * row + 2))).to.be.closeTo(1, 1e-6);
    }
  });

  it('channels of 0 have no say', async () => {
    const told = await within(Float32Array.of(3, 4), Float32Array.of(1, 0, 0, 0), 2);
    expect([...told]).to.deep.equal([1, 0]);
  });
});
