import { expect } from 'chai';
import { centreTaps, LeastSquares } from '../../lib/explainer/least_squares.js';
import { Random } from '../../lib/random.js';
import { failure } from '../support/performer.js';

describe('explainer: least squares', () => {
  const [D, S, IMAGES, CELLS] = [5, 3, 4, 12];

  /** Maps x (images, D, cells) and y = W x + b + noise. */
  function drawMaps(noise: number): Record<'x' | 'y' | 'W' | 'b', Float32Array> {
    const random = new Random(3, 'maps');
    const normals = (length: number): Float32Array =>
      Float32Array.from({ length }, () => random.normal());
    const [W, b, x] = [normals(S * D), normals(S), normals(IMAGES * D * CELLS)];
    const y = new Float32Array(IMAGES * S * CELLS);
    for (let n = 0; n < IMAGES; n++) {
      for (let s = 0; s < S; s++) {
        for (let i = 0; i < CELLS; i++) {
          let sum = (b[s] ?? 0) + noise * random.normal();
          for (let d = 0; d < D; d++) {
            sum += (W[s * D + d] ?? 0) * (x[(n * D + d) * CELLS + i] ?? 0);
          }
          y[(n * S + s) * CELLS + i] = sum;
        }
      }
    }
    return { x, y, W, b };
  }

  async function fitted(noise: number, most = 4000) {
    const { x, y, W, b } = drawMaps(noise);
    const fit = new LeastSquares(D, S, { seed: 1, most });
    await fit.add(x, y, { images: IMAGES, batches: 1 });
    return { ...(await fit.solve()), W, b };
  }

  const largest = (a: Float32Array, b: Float32Array): number =>
    Math.max(...Array.from(a, (value, i) => Math.abs(value - (b[i] ?? NaN))));

  it('finds a linear map with a constant', async () => {
    const { weights, bias, W, b } = await fitted(0);
    expect(largest(weights, W)).to.be.below(1e-3); // the ridge pulls a little
    expect(largest(bias, b)).to.be.below(1e-3);
  });

  it('finds it in noise, and the same for the same seed', async () => {
    const [one, two] = [await fitted(0.05), await fitted(0.05)];
    expect(largest(one.weights, one.W)).to.be.below(0.1);
    expect(one.weights).to.deep.equal(two.weights);
  });

  it('stays small where a channel is silent', async () => {
    const { x, y } = drawMaps(0);
    for (let n = 0; n < IMAGES; n++) x.fill(0, n * D * CELLS, (n * D + 1) * CELLS);
    const fit = new LeastSquares(D, S, { seed: 1, most: 4000 });
    await fit.add(x, y, { images: IMAGES, batches: 1 });
    const { weights } = await fit.solve();
    for (let s = 0; s < S; s++) expect(weights[s * D]).to.equal(0);
    expect(weights.every(Number.isFinite)).to.equal(true);
  });

  it('refuses to solve without cells', async () => {
    await failure('E_ARGUMENT', /cells/, () =>
      new LeastSquares(D, S, { seed: 1, most: 8 }).solve(),
    );
  });

  it('centre taps hold a 1 x 1 convolution', () => {
    expect([...centreTaps(Float32Array.of(2, 3), 1)]).to.deep.equal([2, 3]);
    const wide = centreTaps(Float32Array.of(2, 3), 3);
    expect([wide[4], wide[13], wide.reduce((sum, w) => sum + w, 0)]).to.deep.equal([2, 3, 5]);
  });
});
