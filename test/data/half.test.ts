import { expect } from 'chai';
import { decodeHalf, encodeHalf, floatToHalf, HALF_MAX, halfToFloat } from '../../lib/data/half.js';

describe('half', () => {
  it('knows the values of the standard', () => {
    const known: [number, number][] = [
      [0x0000, 0],
      [0x0001, 2 ** -24],
      [0x03ff, 1023 * 2 ** -24],
      [0x0400, 2 ** -14],
      [0x3555, 0.333251953125],
      [0x3c00, 1],
      [0x3c01, 1 + 2 ** -10],
      [0xc000, -2],
      [0x7bff, 65504],
      [0x7c00, Infinity],
      [0xfc00, -Infinity],
    ];
    for (const [half, value] of known) {
      expect(halfToFloat(half)).to.equal(value);
      expect(floatToHalf(value)).to.equal(half);
    }
    expect(Object.is(halfToFloat(0x8000), -0)).to.equal(true);
    expect(floatToHalf(-0)).to.equal(0x8000);
    expect(halfToFloat(floatToHalf(NaN))).to.be.NaN;
    expect(halfToFloat(HALF_MAX)).to.not.equal(HALF_MAX);
  });

  it('round-trips all 65536 patterns', () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const floats = decodeHalf(halves);
    const back = encodeHalf(floats);
    for (let i = 0; i < 65536; i++) {
      if (Number.isNaN(floats[i])) expect(back[i]! & 0x7fff).to.equal(0x7e00);
      else if (back[i] !== i) expect.fail(`${String(i)} became ${String(back[i])}`);
    }
  });

  it('rounds to the nearest, ties to even, up to infinity', () => {
    expect(floatToHalf(1 + 2 ** -11)).to.equal(0x3c00);
    expect(floatToHalf(1 + 3 * 2 ** -11)).to.equal(0x3c02);
    expect(floatToHalf(1 + 2 ** -11 + 2 ** -20)).to.equal(0x3c01);
    expect(floatToHalf(2 ** -25)).to.equal(0);
    expect(floatToHalf(1.5 * 2 ** -24)).to.equal(2);
    expect(floatToHalf(2 ** -25 + 2 ** -30)).to.equal(1);
    expect(floatToHalf(2 ** -14 - 2 ** -26)).to.equal(0x400);
    expect(floatToHalf(65519)).to.equal(0x7bff);
    expect(floatToHalf(65520)).to.equal(0x7c00);
    expect(floatToHalf(-1e30)).to.equal(0xfc00);
  });

  it('is off by at most 2^-11 of a normal value', () => {
    for (let i = 0; i < 2000; i++) {
      const value = Math.fround(1.037 ** (i % 500) * 2 ** -13 * (i % 2 ? -1 : 1));
      const error = Math.abs(halfToFloat(floatToHalf(value)) - value);
      expect(error).to.be.at.most(Math.abs(value) * 2 ** -11);
    }
  });
});
