import { expect } from 'chai';
import { strongestDirections } from '../../lib/explainer/principal.js';
import { Random } from '../../lib/random.js';

/** Rows of `deviations` along the axes of a fixed rotation of four dimensions, float64. */
function drawn(
  deviations: readonly number[],
  rows: number,
): { vectors: Float32Array; axes: number[][] } {
  const axes = [
    [0.5, 0.5, 0.5, 0.5],
    [0.5, -0.5, 0.5, -0.5],
    [0.5, 0.5, -0.5, -0.5],
    [0.5, -0.5, -0.5, 0.5],
  ];
  const random = new Random(3, 'strongest test');
  const vectors = new Float32Array(rows * 4);
  for (let n = 0; n < rows; n++) {
    deviations.forEach((deviation, k) => {
      const length = deviation * random.normal();
      for (let c = 0; c < 4; c++) {
        vectors[4 * n + c] = (vectors[4 * n + c] ?? 0) + length * (axes[k]?.[c] ?? 0);
      }
    });
  }
  return { vectors, axes };
}

describe('explainer: strongest directions', () => {
  it('finds the axes along which vectors are long, strongest first, of mean square 1', async () => {
    const { vectors, axes } = drawn([1, 8, 3, 0.2], 4000);
    const found = await strongestDirections(vectors, { channels: 4, count: 2, seed: 1 });
    [1, 2].forEach((axis, k) => {
      const direction = found.subarray(4 * k, 4 * k + 4);
      const norm = Math.hypot(...direction);
      const cosine =
        (axes[axis] ?? []).reduce((sum, x, c) => sum + x * (direction[c] ?? 0), 0) / norm;
      expect(Math.abs(cosine)).to.be.above(0.998);
      let square = 0;
      for (let n = 0; n < 4000; n++) {
        const along = direction.reduce((sum, x, c) => sum + x * (vectors[4 * n + c] ?? 0), 0);
        square += along ** 2 / 4000;
      }
      expect(square).to.be.closeTo(1, 1e-4);
    });
  });

  it('the same seed gives the same bits; directions without strength are 0', async () => {
    const { vectors } = drawn([2, 0, 0, 0], 50);
    const options = { channels: 4, count: 3, seed: 5 };
    const found = await strongestDirections(vectors, options);
    expect(found).to.deep.equal(await strongestDirections(vectors, options));
    expect(Math.hypot(...found.subarray(0, 4))).to.be.above(0.1);
    expect(found.subarray(4).every((value) => value === 0)).to.equal(true);
  });

  it('leaves the event loop free', async () => {
    const vectors = Float32Array.from({ length: 4000 * 128 }, (_, i) => Math.sin(i * i));
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await strongestDirections(vectors, { channels: 128, count: 64, seed: 1 });
    clearInterval(timer);
    expect(turns).to.be.above(5);
  });
});
