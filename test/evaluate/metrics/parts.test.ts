import { expect } from 'chai';
import type { Annotations } from '../../../lib/data/landmarks.js';
import {
  emptyPeaks,
  partMetrics,
  pearson,
  type Grid,
  type Peaks,
} from '../../../lib/evaluate/metrics/index.js';

const GRID: Grid = { rows: 5, columns: 5, stride: [20, 20], first: [9.5, 9.5] };

/** Ten images; a head at cell 0 and legs at cell 24 in each. */
const ANNOTATIONS: Annotations = {
  size: 100,
  categories: ['dog'],
  category: new Int32Array(10),
  parts: ['head', 'legs'],
  y: Float64Array.from({ length: 20 }, (_, i) => (i % 2 ? 89.5 : 9.5)),
  x: Float64Array.from({ length: 20 }, (_, i) => (i % 2 ? 89.5 : 9.5)),
};

/** Each filter: activation and cell as functions of the image. */
function peaksFrom(filters: readonly ((n: number) => [number, number])[]): Peaks {
  const peaks = emptyPeaks(10, filters.length);
  for (let n = 0; n < 10; n++) {
    filters.forEach((of, f) => {
      const [value, cell] = of(n);
      peaks.value[n * filters.length + f] = value;
      peaks.cell[n * filters.length + f] = cell;
    });
  }
  return peaks;
}

describe('part metrics', () => {
  it('purity: share of the top images whose peak is near the main part', () => {
    const peaks = peaksFrom([
      () => [1, 0], // always the head
      (n) => [1, n < 7 ? 24 : 0], // legs seven times of ten
      () => [1, 12], // between the two: no part
      () => [0, 0], // never fires
    ]);
    const result = partMetrics({ peaks, annotations: ANNOTATIONS, grid: GRID });
    expect([...result.perFilter].slice(0, 3)).to.deep.equal([1, 0.7, 0]);
    expect(result.perFilter[3]).to.be.NaN;
    expect(result.part).to.deep.equal(['dog/head', 'dog/legs', undefined, undefined]);
    expect(result.purity).to.be.closeTo(1.7 / 3, 1e-12);
    expect(result.landmarks).to.deep.equal(['dog/head', 'dog/legs']);
    expect(result.covered).to.deep.equal(['dog/head', 'dog/legs']);
    const strict = partMetrics(
      { peaks, annotations: ANNOTATIONS, grid: GRID },
      { coveredFrom: 0.8 },
    );
    expect(strict.covered).to.deep.equal(['dog/head']);
  });

  it('purity: only the top images count, and neighbours within the radius', () => {
    const peaks = peaksFrom([(n) => [n < 4 ? 2 : 1, n < 4 ? 1 : 24]]);
    const near = partMetrics({ peaks, annotations: ANNOTATIONS, grid: GRID }, { top: 4 });
    expect(near.part).to.deep.equal(['dog/head']); // 20 pixels off, 0.14 of the diagonal
    expect(near.perFilter[0]).to.equal(1);
    const exact = partMetrics(
      { peaks, annotations: ANNOTATIONS, grid: GRID },
      { top: 4, radius: 0.1 },
    );
    expect(exact.part).to.deep.equal([undefined]);
    expect(exact.perFilter[0]).to.equal(0);
  });

  it('duplicates: same places and activations that go together, the stronger one is kept', () => {
    const peaks = peaksFrom([
      (n) => [1 + n, 6], // weaker twin of 1
      (n) => [3 + 2 * n, 7], // touching cell
      (n) => [10 - n, 6], // same place, opposite activations
      (n) => [1 + n, 18], // same activations, another place
      () => [0, 0],
      () => [0, 0], // dead filters duplicate nothing
    ]);
    const { duplicateOf, duplicates } = partMetrics({
      peaks,
      annotations: ANNOTATIONS,
      grid: GRID,
    });
    expect([...duplicateOf]).to.deep.equal([1, -1, -1, -1, -1, -1]);
    expect(duplicates).to.equal(1);
  });

  it('correlates', () => {
    const a = Float64Array.of(1, 2, 3, 4);
    expect(
      pearson(
        a,
        a.map((x) => 3 * x - 1),
      ),
    ).to.be.closeTo(1, 1e-12);
    expect(
      pearson(
        a,
        a.map((x) => -x),
      ),
    ).to.be.closeTo(-1, 1e-12);
    expect(pearson(a, Float64Array.of(1, -1, -1, 1))).to.equal(0);
    expect(pearson(a, new Float64Array(4))).to.equal(0);
  });
});
