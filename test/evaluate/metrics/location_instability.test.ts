import { sidesOf } from '../../../lib/data/image_size.js';
import { expect } from 'chai';
import type { Annotations } from '../../../lib/data/landmarks.js';
import {
  cellCentre,
  deviation,
  emptyPeaks,
  locationInstability,
  peaksOf,
  type Grid,
  type Peaks,
} from '../../../lib/evaluate/metrics/index.js';
import { Random } from '../../../lib/random.js';

/** Cells at 0.5 and 2.5 of an input of 4 pixels; its diagonal is 4 sqrt(2). */
const GRID: Grid = { rows: 2, columns: 2, stride: [2, 2], first: [0.5, 0.5] };

function annotate(
  rows: readonly { category?: string; parts: Record<string, [number, number]> }[],
  size = 4,
): Annotations {
  const categories = [...new Set(rows.map(({ category = '' }) => category))].sort();
  const parts = [...new Set(rows.flatMap((row) => Object.keys(row.parts)))].sort();
  const pick = (axis: 0 | 1): Float64Array =>
    Float64Array.from(rows.flatMap((row) => parts.map((part) => row.parts[part]?.[axis] ?? NaN)));
  const category = Int32Array.from(rows, (row) => categories.indexOf(row.category ?? ''));
  return { size, categories, category, parts, y: pick(0), x: pick(1) };
}

/** One array of [activation, cell] for each image. */
function peaksFrom(images: readonly (readonly [number, number])[][]): Peaks {
  const peaks = emptyPeaks(images.length, images[0]?.length ?? 0);
  images.flat().forEach(([value, cell], i) => {
    peaks.value[i] = value;
    peaks.cell[i] = cell;
  });
  return peaks;
}

/** The definition again, as a loop nest without any of the functions under test. */
function reference(peaks: Peaks, a: Annotations, grid: Grid, top: number): number {
  const P = a.parts.length;
  const perFilter: number[] = [];
  for (let f = 0; f < peaks.filters; f++) {
    const v = (n: number): number => peaks.value[n * peaks.filters + f] ?? 0;
    const perCategory = a.categories.map((_, c) => {
      const own = [...a.category.keys()].filter((n) => a.category[n] === c);
      const deviations: number[] = [];
      for (let p = 0; p < P; p++) {
        const annotated = own.filter((n) => !Number.isNaN(a.y[n * P + p]));
        if (annotated.length < 2) continue;
        const best = annotated.sort((m, n) => v(n) - v(m) || m - n).slice(0, top);
        const d = best.map((n) => {
          const cell = peaks.cell[n * peaks.filters + f] ?? 0;
          const dy =
            grid.first[0] +
            grid.stride[0] * Math.floor(cell / grid.columns) -
            (a.y[n * P + p] ?? 0);
          const dx = grid.first[1] + grid.stride[1] * (cell % grid.columns) - (a.x[n * P + p] ?? 0);
          return Math.sqrt(dy * dy + dx * dx) / Math.hypot(...sidesOf(a.size));
        });
        const mean = d.reduce((s, x) => s + x, 0) / d.length;
        deviations.push(Math.sqrt(d.reduce((s, x) => s + (x - mean) ** 2, 0) / (d.length - 1)));
      }
      const mean = own.reduce((s, n) => s + v(n), 0) / own.length;
      const value = deviations.reduce((s, x) => s + x, 0) / deviations.length;
      return { mean, value, fires: own.some((n) => v(n) > 0) };
    });
    const scored = perCategory.filter(({ value, fires }) => fires && !Number.isNaN(value));
    const best = scored.sort((x, y) => y.mean - x.mean)[0];
    if (best) perFilter.push(best.value);
  }
  return perFilter.reduce((s, x) => s + x, 0) / perFilter.length;
}

describe('peaks', () => {
  it('finds the maximum and its first cell', () => {
    const maps = Float32Array.of(
      0,
      3,
      3,
      1,
      /**/ 0,
      0,
      0,
      0,
      /**/ -2,
      -1,
      -3,
      -1,
      /**/ 5,
      1,
      2,
      7,
      99,
    );
    const { value, cell } = peaksOf(maps, { images: 2, filters: 2, cells: 4 });
    expect([...value]).to.deep.equal([3, 0, -1, 7]);
    expect([...cell]).to.deep.equal([1, 0, 1, 3]);
  });

  it('fills peaks batch by batch', () => {
    const into = emptyPeaks(3, 1);
    peaksOf(Float32Array.of(1, 2, 9, 4), { images: 2, filters: 1, cells: 2 }, { into });
    peaksOf(Float32Array.of(5, 3), { images: 1, filters: 1, cells: 2 }, { into, first: 2 });
    expect([...into.value]).to.deep.equal([2, 9, 5]);
    expect([...into.cell]).to.deep.equal([1, 0, 0]);
  });

  it('shows a NaN, wherever it is', () => {
    for (const map of [
      [NaN, 1],
      [1, NaN, 5],
    ]) {
      const peaks = peaksOf(Float32Array.from(map), { images: 1, filters: 1, cells: map.length });
      expect(peaks.value[0]).to.be.NaN;
    }
  });

  it('refuses arrays of other sizes', () => {
    const size = { images: 2, filters: 1, cells: 2 };
    expect(() => peaksOf(new Float32Array(3), size))
      .to.throw()
      .with.property('code', 'E_SHAPE');
    const into = emptyPeaks(2, 1);
    expect(() => peaksOf(new Float32Array(4), size, { into, first: 1 })).to.throw('into');
  });

  it('places cells in the input', () => {
    const grid = { rows: 14, columns: 14, stride: [8, 8], first: [3.5, 3.5] } as const;
    expect(cellCentre(grid, 0)).to.deep.equal([3.5, 3.5]);
    expect(cellCentre(grid, 14 * 2 + 5)).to.deep.equal([19.5, 43.5]);
    expect(cellCentre({ rows: 2, columns: 3, stride: [2, 4], first: [1, 0] }, 5)).to.deep.equal([
      3, 8,
    ]);
  });
});

describe('location instability', () => {
  it('is the standard deviation (n - 1) of the distance over the diagonal', () => {
    // distances 0, sqrt(8), 2 over sqrt(32): 0, 0.5, 0.353553; mean 0.284518
    const annotations = annotate([
      { parts: { head: [0.5, 0.5] } },
      { parts: { head: [0.5, 0.5] } },
      { parts: { head: [0.5, 0.5] } },
    ]);
    const peaks = peaksFrom([[[1, 0]], [[1, 3]], [[1, 1]]]);
    const result = locationInstability({ peaks, annotations, grid: GRID });
    const m = (0 + 0.5 + 0.353553) / 3;
    const wanted = Math.sqrt((m ** 2 + (0.5 - m) ** 2 + (0.353553 - m) ** 2) / 2);
    expect(result.value).to.be.closeTo(wanted, 1e-6);
    expect(result.value).to.be.closeTo(0.257049, 1e-6);
    expect(result).to.deep.include({ dead: 0, images: 3, landmarks: ['head'] });
    expect([...result.firing]).to.deep.equal([1]);
  });

  it('is 0 for a filter that keeps its distance, wherever the object is', () => {
    const annotations = annotate([
      { parts: { head: [0.5, 0.5] } },
      { parts: { head: [2.5, 2.5] } },
      { parts: { head: [0.5, 2.5] } },
    ]);
    const peaks = peaksFrom([[[1, 0]], [[2, 3]], [[3, 1]]]);
    expect(locationInstability({ peaks, annotations, grid: GRID }).value).to.equal(0);
  });

  it('means over landmarks first, then over filters', () => {
    const annotations = annotate([
      { parts: { head: [0.5, 0.5], legs: [2.5, 2.5] } },
      { parts: { head: [0.5, 0.5], legs: [2.5, 2.5] } },
      { parts: { legs: [2.5, 2.5] } },
    ]);
    const peaks = peaksFrom([
      [
        [1, 0],
        [1, 0],
      ],
      [
        [1, 3],
        [1, 0],
      ],
      [
        [1, 3],
        [1, 1],
      ],
    ]);
    const { value, perFilter } = locationInstability({ peaks, annotations, grid: GRID });
    const d = [0, 0.5, 2 / Math.sqrt(32)];
    const first = [deviation([d[0]!, d[1]!]), deviation([d[1]!, d[0]!, d[0]!])];
    const second = [0, deviation([d[1]!, d[1]!, d[2]!])];
    expect(perFilter[0]).to.be.closeTo((first[0]! + first[1]!) / 2, 1e-12);
    expect(perFilter[1]).to.be.closeTo((second[0]! + second[1]!) / 2, 1e-12);
    expect(value).to.be.closeTo((perFilter[0]! + perFilter[1]!) / 2, 1e-12);
  });

  it('takes the images of the highest activation, of equals the first', () => {
    const annotations = annotate(
      Array.from({ length: 5 }, () => ({ parts: { head: [0.5, 0.5] as [number, number] } })),
    );
    const peaks = peaksFrom([[[1, 0]], [[3, 1]], [[2, 3]], [[2, 2]], [[0, 0]]]);
    const top = (count: number): number =>
      locationInstability({ peaks, annotations, grid: GRID }, { top: count }).value;
    const [one, two] = [2 / Math.sqrt(32), 0.5];
    expect(top(2)).to.be.closeTo(deviation([one, two]), 1e-12);
    expect(top(3)).to.be.closeTo(deviation([one, two, one]), 1e-12);
    expect(top(100)).to.be.closeTo(deviation([one, two, one, 0, 0]), 1e-12);
  });

  it('takes 100 images by default, only those with the landmark', () => {
    const rows = Array.from(
      { length: 150 },
      (_, n): { parts: Record<string, [number, number]> } => ({
        parts: n % 5 ? { head: [0.5, 0.5] } : { legs: [1, 1] },
      }),
    );
    const peaks = peaksFrom(rows.map((_, n) => [[150 - n, n < 125 ? 0 : 3] as const]));
    // 120 images have a head; the 100 strongest are 1 .. 124 without multiples of 5, all at cell 0
    const all = locationInstability({ peaks, annotations: annotate(rows), grid: GRID });
    const legs = deviation(
      rows.flatMap((_, n) =>
        n % 5 ? [] : [Math.hypot(n < 125 ? 0.5 : 1.5, n < 125 ? 0.5 : 1.5) / Math.sqrt(32)],
      ),
    );
    expect(all.value).to.be.closeTo((0 + legs) / 2, 1e-12);
  });

  it('counts filters that never fire and leaves them out', () => {
    const annotations = annotate([
      { parts: { head: [0.5, 0.5] } },
      { parts: { head: [0.5, 0.5] } },
    ]);
    const peaks = peaksFrom([
      [
        [0, 0],
        [1, 0],
        [0, 3],
      ],
      [
        [0, 0],
        [1, 3],
        [2, 0],
      ],
    ]);
    const result = locationInstability({ peaks, annotations, grid: GRID });
    expect(result.dead).to.equal(1);
    expect(result.perFilter[0]).to.be.NaN;
    expect([...result.category]).to.deep.equal([-1, 0, 0]);
    expect([...result.firing]).to.deep.equal([0, 1, 0.5]);
    expect(result.value).to.be.closeTo(0.5 / Math.SQRT2, 1e-12);
    const none = locationInstability({
      peaks: peaksFrom([[[0, 0]], [[0, 0]]]),
      annotations,
      grid: GRID,
    });
    expect(none.value).to.be.NaN;
    expect(none.dead).to.equal(1);
  });

  it('scores a filter on the category of its largest mean activation', () => {
    const head = (
      category: string,
      y: number,
    ): { category: string; parts: Record<string, [number, number]> } => ({
      category,
      parts: { head: [y, y] },
    });
    const background = { category: 'background', parts: {} };
    const annotations = annotate([
      head('cat', 0.5),
      head('cat', 0.5),
      head('dog', 2.5),
      head('dog', 2.5),
      background,
    ]);
    // filter 0 prefers cats (mean 2 against 1.5), filter 1 dogs, filter 2 the background, then dogs
    const peaks = peaksFrom([
      [
        [4, 0],
        [0, 0],
        [0, 0],
      ],
      [
        [0, 3],
        [1, 0],
        [0, 0],
      ],
      [
        [1, 0],
        [3, 3],
        [1, 3],
      ],
      [
        [2, 0],
        [3, 3],
        [0, 3],
      ],
      [
        [0, 0],
        [0, 0],
        [9, 0],
      ],
    ]);
    const result = locationInstability({ peaks, annotations, grid: GRID });
    expect([...result.category].map((c) => annotations.categories[c])).to.deep.equal([
      'cat',
      'dog',
      'dog',
    ]);
    expect(result.perFilter[0]).to.be.closeTo(deviation([0, 0.5]), 1e-12);
    expect(result.perFilter[1]).to.equal(0);
    expect(result.landmarks).to.deep.equal(['cat/head', 'dog/head']);
    expect(result.images).to.equal(4);
  });

  it('leaves out landmarks with fewer than two images; E_ARGUMENT when none is left', () => {
    const annotations = annotate([
      { parts: { head: [0.5, 0.5], tail: [1, 1] } },
      { parts: { head: [0.5, 0.5] } },
    ]);
    const peaks = peaksFrom([[[1, 0]], [[1, 0]]]);
    expect(locationInstability({ peaks, annotations, grid: GRID }).landmarks).to.deep.equal([
      'head',
    ]);
    const single = annotate([{ parts: { head: [1, 1] } }, { parts: {} }]);
    expect(() => locationInstability({ peaks, annotations: single, grid: GRID }))
      .to.throw('two or more images')
      .with.property('code', 'E_ARGUMENT');
  });

  it('refuses annotations of other sizes', () => {
    const annotations = annotate([
      { parts: { head: [0.5, 0.5] } },
      { parts: { head: [0.5, 0.5] } },
    ]);
    const peaks = peaksFrom([[[1, 0]], [[1, 3]]]);
    const score = (other: object) => () =>
      locationInstability({ peaks, annotations: { ...annotations, ...other }, grid: GRID });
    expect(score({})).not.to.throw();
    expect(score({ y: new Float64Array(1) }))
      .to.throw('2 x 1 values for y and x')
      .with.property('code', 'E_SHAPE');
    expect(score({ size: NaN })).to.throw('a number > 0 for size but received NaN');
  });

  it('refuses peaks of other images, cells outside of the grid, activations that are not finite', () => {
    const annotations = annotate([{ parts: { head: [1, 1] } }, { parts: { head: [1, 1] } }]);
    const score = (peaks: Peaks): unknown =>
      locationInstability({ peaks, annotations, grid: GRID });
    expect(() => score(peaksFrom([[[1, 0]]])))
      .to.throw()
      .with.property('code', 'E_SHAPE');
    expect(() => score(peaksFrom([[[1, 0]], [[1, 4]]]))).to.throw('cells below 4');
    expect(() =>
      score(
        peaksFrom([
          [
            [1, 0],
            [1, 0],
          ],
          [
            [1, 0],
            [NaN, 0],
          ],
        ]),
      ),
    )
      .to.throw('filter 1')
      .with.property('code', 'E_STATE');
  });

  it('agrees with the definition written as a loop nest, on random data', () => {
    const random = new Random(4, 'instability');
    const grid: Grid = { rows: 7, columns: 7, stride: [16, 16], first: [7.5, 7.5] };
    for (let round = 0; round < 5; round++) {
      const rows = Array.from({ length: 90 }, () => ({
        category: ['a', 'b', 'c'][random.int(3)] ?? '',
        parts: Object.fromEntries(
          ['head', 'legs', 'tail']
            .filter(() => random.uniform() < 0.6)
            .map((part) => [
              part,
              [random.uniform(0, 111), random.uniform(0, 111)] as [number, number],
            ]),
        ),
      }));
      const annotations = annotate(rows, 112);
      const peaks = emptyPeaks(90, 6);
      for (let i = 0; i < peaks.value.length; i++) {
        peaks.value[i] = i % 6 === 5 ? 0 : Math.max(0, random.int(8) - 2);
        peaks.cell[i] = random.int(49);
      }
      const result = locationInstability({ peaks, annotations, grid }, { top: 10 });
      expect(result.value).to.be.closeTo(reference(peaks, annotations, grid, 10), 1e-12);
      expect(result.dead).to.equal(1);
    }
  });
});
