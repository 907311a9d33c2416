import { expect } from 'chai';
import { symmetricEigen } from '../../../lib/explainer/eigen.js';
import { EngineCode } from '../../../lib/evaluate/baselines/engine_code.js';
import { fitPca } from '../../../lib/evaluate/baselines/pca.js';
import { Random } from '../../../lib/random.js';

const C = 6;
const RANK = 2;

/** Vectors mean + two directions, rows of C. */
function lowRank(count: number): Float32Array {
  const random = new Random(3, 'pca');
  const basis = Float64Array.from({ length: RANK * C }, () => random.normal());
  const rows = Array.from({ length: count }, () => {
    const [s, t] = [random.normal(), random.normal()];
    return Array.from({ length: C }, (_, c) => 5 + s * (basis[c] ?? 0) + t * (basis[C + c] ?? 0));
  });
  return Float32Array.from(rows.flat());
}

/** The largest difference after rebuilding each vector as an image of one cell. */
async function worst(filters: number): Promise<number> {
  const x = lowRank(200);
  const fitted = await fitPca(x, { channels: C, filters, seed: 1 });
  const sizes = { channels: C, height: 1, width: 1, positive: false };
  const code = await EngineCode.open(fitted, sizes, { backend: 'cpu', threads: 1 });
  const y = await code.rebuild(x, 200);
  code.dispose();
  return Math.max(...x.map((value, i) => Math.abs(value - (y[i] ?? 0))));
}

describe('baselines: PCA', () => {
  it('rebuilds data of rank r by r components, not by fewer', async () => {
    expect(await worst(RANK)).to.be.below(5e-5);
    expect(await worst(RANK - 1)).to.be.above(0.1);
  });

  it('caps the filters at the channels', async () => {
    const { filters } = await fitPca(lowRank(9), { channels: C, filters: 40, seed: 1 });
    expect(filters).to.equal(C);
  });

  it('finds the eigenvalues of [[2, 1], [1, 2]]', async () => {
    const { values, vectors } = await symmetricEigen(Float64Array.of(2, 1, 1, 2), 2);
    expect(values[0]).to.be.closeTo(3, 1e-12);
    expect(values[1]).to.be.closeTo(1, 1e-12);
    expect(Math.abs((vectors[0] ?? 0) + (vectors[1] ?? 0))).to.be.closeTo(Math.SQRT2, 1e-12);
  });
});
