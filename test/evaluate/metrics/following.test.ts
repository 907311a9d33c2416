import { expect } from 'chai';
import type { Annotations } from '../../../lib/data/landmarks.js';
import {
  allCategories,
  categoryTable,
  cellCentre,
  emptyPeaks,
  filtersPerCategory,
  fixedPeaks,
  locationInstability,
  partMetrics,
  r2,
  randomPeaks,
  topImages,
  vectorInstability,
  type CategoryTable,
  type Grid,
  type InstabilityInput,
  type Peaks,
} from '../../../lib/evaluate/metrics/index.js';
import { Random } from '../../../lib/random.js';

const GRID: Grid = { rows: 6, columns: 5, stride: [17.3, 20.1], first: [7.7, 9.1] };

interface Mark {
  category: string;
  parts: Record<string, readonly [number, number]>;
}

function annotate(marks: readonly Mark[], size: Annotations['size'] = [104, 100]): Annotations {
  const categories = [...new Set(marks.map(({ category }) => category))].sort();
  const parts = [...new Set(marks.flatMap((mark) => Object.keys(mark.parts)))].sort();
  const pick = (axis: 0 | 1): Float64Array =>
    Float64Array.from(
      marks.flatMap((mark) => parts.map((part) => mark.parts[part]?.[axis] ?? NaN)),
    );
  const category = Int32Array.from(marks, (mark) => categories.indexOf(mark.category));
  return { size, categories, category, parts, y: pick(0), x: pick(1) };
}

/** Each filter: [activation, cell] as a function of the image. */
function peaksFrom(
  images: number,
  filters: readonly ((n: number) => readonly [number, number])[],
): Peaks {
  const peaks = emptyPeaks(images, filters.length);
  for (let n = 0; n < images; n++) {
    filters.forEach((of, f) => {
      const [value, cell] = of(n);
      peaks.value[n * filters.length + f] = value;
      peaks.cell[n * filters.length + f] = cell;
    });
  }
  return peaks;
}

/** 150 images of three categories, a head anywhere, a tail in most, and paws in one category alone. */
function scattered(): Annotations {
  const random = new Random(4, 'scattered');
  const place = (): [number, number] => [random.uniform(0, 104), random.uniform(0, 100)];
  const marks = Array.from({ length: 420 }, (_, n): Mark => {
    const category = ['ant', 'bee', 'cow'][n % 3] ?? '';
    const tail = n % 5 > 0 ? { tail: place() } : {};
    const paws = category === 'cow' ? { paws: place() } : {};
    return { category, parts: { head: place(), ...tail, ...paws } };
  });
  return annotate(marks);
}

/** The definitions again, from `topImages` and sums alone. */
function reference(
  { peaks, annotations: a, grid }: InstabilityInput,
  [f, c]: readonly [number, number],
  top: number,
): { distance: number; vector: number; r2: number } {
  const P = a.parts.length;
  const found = { distance: [] as number[], vector: [] as number[], r2: [] as number[] };
  const variance = (v: readonly number[]): number => {
    const mean = v.reduce((s, x) => s + x, 0) / v.length;
    return v.reduce((s, x) => s + (x - mean) ** 2, 0) / (v.length - 1);
  };
  for (let p = 0; p < P; p++) {
    const shown = Int32Array.from(a.category.keys()).filter(
      (n) => a.category[n] === c && !Number.isNaN(a.y[n * P + p]),
    );
    if (shown.length < 2) continue;
    const best = [...topImages(peaks, f, shown, top)];
    const offset = (axis: 0 | 1, of: Float64Array): number[] =>
      best.map((n) => {
        const cell = peaks.cell[n * peaks.filters + f] ?? 0;
        return cellCentre(grid, cell)[axis] - (of[n * P + p] ?? NaN);
      });
    const [dy, dx] = [offset(0, a.y), offset(1, a.x)];
    const roam = variance(best.map((n) => a.y[n * P + p] ?? 0));
    const all = roam + variance(best.map((n) => a.x[n * P + p] ?? 0));
    const diagonal = Math.hypot(104, 100);
    found.distance.push(
      Math.sqrt(variance(dy.map((y, i) => Math.hypot(y, dx[i] ?? 0)))) / diagonal,
    );
    found.vector.push(Math.sqrt(variance(dy) + variance(dx)) / diagonal);
    found.r2.push(1 - (variance(dy) + variance(dx)) / all);
  }
  const mean = (v: readonly number[]): number => v.reduce((s, x) => s + x, 0) / v.length;
  return { distance: mean(found.distance), vector: mean(found.vector), r2: Math.max(...found.r2) };
}

const NO_DUPLICATES = (table: CategoryTable): { duplicateOf: Int32Array } => ({
  duplicateOf: new Int32Array(table.filters).fill(-1),
});

describe('category table', () => {
  const annotations = scattered();
  const images = annotations.category.length;
  const peaks = randomPeaks({ images, grid: GRID }, { seed: 2, filters: 7 });
  // equal activations, of which the first images count
  peaks.value.forEach((value, i) => (peaks.value[i] = Math.round(20 * value)));
  const input = { peaks, annotations, grid: GRID };

  for (const top of [10, 100, 1000]) {
    it(`agrees with the definitions, ${String(top)} images a landmark`, () => {
      const table = categoryTable(input, { top });
      expect(table.categories).to.deep.equal(['ant', 'bee', 'cow']);
      for (let f = 0; f < 7; f++) {
        for (let k = 0; k < 3; k++) {
          const wanted = reference(input, [f, k], top);
          for (const name of ['distance', 'vector', 'r2'] as const) {
            expect(table[name][3 * f + k], name).to.be.closeTo(wanted[name], 1e-12);
          }
        }
      }
    });
  }

  it('has the numbers of location instability in the column of the filter', () => {
    const table = categoryTable(input);
    const { perFilter, category } = locationInstability(input);
    expect([...table.column]).to.deep.equal([...category]);
    table.column.forEach((k, f) => {
      expect(table.distance[3 * f + k]).to.be.closeTo(perFilter[f] ?? NaN, 1e-12);
    });
  });

  it('refuses peaks of other images', () => {
    expect(() => categoryTable({ ...input, peaks: emptyPeaks(3, 7) }))
      .to.throw('peaks of 420 images')
      .with.property('code', 'E_SHAPE');
  });
});

describe('vector instability and R2', () => {
  it('a fixed position: R2 exactly 0, vector instability what the landmarks roam', () => {
    const annotations = scattered();
    const one = peaksFrom(420, [() => [1, 17], (n) => [1 + (n % 7), 3]]);
    const here = fixedPeaks(annotations, [33.3, 0.1]);
    for (const { peaks, grid } of [{ peaks: one, grid: GRID }, here]) {
      for (const top of [50, Infinity]) {
        const table = categoryTable({ peaks, annotations, grid }, { top });
        const scores = r2(table, NO_DUPLICATES(table));
        expect([...table.r2].every((value) => value === 0)).to.equal(true);
        expect([scores.mean, scores.distinctMean, scores.above]).to.deep.equal([0, 0, 0]);
        // uniform over the frame: sides over root 12
        expect(vectorInstability(table).value).to.be.closeTo(1 / Math.sqrt(12), 0.02);
      }
    }
  });

  it('maps that follow exactly: R2 1 and vector instability 0, at the part and beside it', () => {
    const cellOf = (n: number): number => 5 * (n % 5) + (n % 4);
    const marks = Array.from({ length: 60 }, (_, n): Mark => {
      return { category: 'dog', parts: { head: cellCentre(GRID, cellOf(n)) } };
    });
    const annotations = annotate(marks);
    const peaks = peaksFrom(60, [(n) => [1, cellOf(n)], (n) => [1 + n, cellOf(n) + 6]]);
    const table = categoryTable({ peaks, annotations, grid: GRID });
    const scores = r2(table, NO_DUPLICATES(table));
    expect(scores.perFilter[0]).to.equal(1);
    expect(vectorInstability(table).perFilter[0]).to.equal(0);
    expect(scores.perFilter[1]).to.be.closeTo(1, 1e-12);
    expect(vectorInstability(table).perFilter[1]).to.be.closeTo(0, 1e-12);
    expect(scores).to.deep.include({ distinct: 2, above: 2 });
  });

  it('a peak that jumps the other way: by hand', () => {
    const grid: Grid = { rows: 2, columns: 1, stride: [2, 2], first: [0, 0] };
    const marks = [0, 2].map((y): Mark => ({ category: 'dog', parts: { head: [y, 1] } }));
    const peaks = peaksFrom(2, [(n) => [1, 1 - n]]);
    const table = categoryTable({ peaks, annotations: annotate(marks, 4), grid });
    // offsets 2 and -2, variance 8; landmark 0 and 2, variance 2
    expect(vectorInstability(table).value).to.be.closeTo(Math.sqrt(8) / (4 * Math.SQRT2), 1e-15);
    expect(r2(table, NO_DUPLICATES(table)).mean).to.equal(-3);
    // both peaks are as far away: location instability sees nothing
    expect(table.distance[0]).to.equal(0);
  });

  it('the best landmark counts; one that never moves has no R2; silent filters are left out', () => {
    const cellOf = (n: number): number => 5 * (n % 5) + ((3 * n) % 5);
    const marks = Array.from({ length: 40 }, (_, n): Mark => {
      const nose = cellCentre(GRID, cellOf(n));
      return { category: 'dog', parts: { ear: [50, 50], nose, tail: [9 * (n % 7), 60] } };
    });
    const annotations = annotate(marks);
    const peaks = peaksFrom(40, [(n) => [1, cellOf(n)], () => [0, 3]]);
    const table = categoryTable({ peaks, annotations, grid: GRID });
    expect(table.landmarks[table.best[0] ?? -1]?.part).to.equal(annotations.parts.indexOf('nose'));
    const scores = r2(table, NO_DUPLICATES(table));
    expect([...scores.perFilter]).to.deep.equal([1, NaN]);
    expect(scores).to.deep.include({ mean: 1, distinctMean: 1, distinct: 1, above: 1 });
    expect(vectorInstability(table).perFilter[1]).to.be.NaN;
    const still = annotate(marks.map(() => ({ category: 'dog', parts: { ear: [50, 50] } })));
    const nothing = categoryTable({ peaks, annotations: still, grid: GRID });
    expect(r2(nothing, NO_DUPLICATES(nothing)).mean).to.be.NaN;
  });

  it('duplicates count once, in the mean of distinct filters and in their number', () => {
    const cellOf = (n: number): number => 5 * (n % 5) + ((3 * n) % 5);
    const marks = Array.from({ length: 40 }, (_, n): Mark => {
      return { category: 'dog', parts: { head: cellCentre(GRID, cellOf(n)) } };
    });
    const input = {
      annotations: annotate(marks),
      grid: GRID,
      peaks: peaksFrom(40, [(n) => [1 + n, cellOf(n)], (n) => [2 + n, cellOf(n)], () => [1, 29]]),
    };
    const table = categoryTable(input);
    const scores = r2(table, partMetrics(input));
    expect(scores).to.deep.include({ mean: 2 / 3, distinctMean: 0.5, distinct: 2, above: 1 });
    expect([...scores.isDistinct]).to.deep.equal([0, 1, 1]);
    const strict = r2(table, { duplicateOf: new Int32Array(3).fill(-1), threshold: 1 });
    expect(strict).to.include({ distinct: 3, above: 0 });
    expect(() => r2(table, { duplicateOf: new Int32Array(2) }))
      .to.throw('3 filters')
      .with.property('code', 'E_SHAPE');
  });
});

describe('all categories', () => {
  /** Heads of 30 ants stay at cell 0, those of 30 bees go from cell to cell. */
  const cellOf = (n: number): number => (n < 30 ? 0 : 5 * (n % 5) + ((3 * n) % 5));
  const marks = Array.from({ length: 60 }, (_, n): Mark => {
    return { category: n < 30 ? 'ant' : 'bee', parts: { head: cellCentre(GRID, cellOf(n)) } };
  });
  const annotations = annotate(marks);

  it('each filter is scored on all, not only on its loudest', () => {
    const peaks = peaksFrom(60, [
      (n) => [n < 30 ? 2 : 1, 0], // loud on ants, stays put
      (n) => [1, cellOf(n)], // follows everywhere
      () => [0, 0],
    ]);
    const table = categoryTable({ peaks, annotations, grid: GRID });
    expect(vectorInstability(table).value).to.equal(0);
    const { distance, vector } = allCategories(table);
    const roam = table.vector[1] ?? NaN;
    expect(roam).to.be.above(0.2);
    expect(vector).to.be.closeTo(roam / 4, 1e-15);
    expect(distance).to.be.closeTo((table.distance[1] ?? NaN) / 4, 1e-15);
  });

  it('counts distinct filters and followers of each category', () => {
    const follower =
      (offset: number) =>
      (n: number): readonly [number, number] => {
        return [n < 30 ? 0 : 1 + ((n * offset) % 7), cellOf(n) + (n < 30 ? 0 : offset)];
      };
    const grid = { ...GRID, rows: 9 };
    const peaks = peaksFrom(60, [
      ...[0, 5, 10, 15].map(follower),
      (n) => [n < 30 ? 1 : 0, 0],
      () => [0, 0],
    ]);
    const input = { peaks, annotations, grid };
    const table = categoryTable(input);
    const scores = r2(table, NO_DUPLICATES(table));
    expect(filtersPerCategory(table, scores)).to.deep.equal({
      distinct: { ant: 1, bee: 4 },
      above: { ant: 0, bee: 4 },
      served: 1,
    });
    expect(filtersPerCategory(table, scores, { enough: 4 }).served).to.equal(1);
    expect(filtersPerCategory(table, scores, { enough: 5 }).served).to.equal(0);
    const twins = r2(table, { duplicateOf: Int32Array.of(-1, 0, 0, -1, -1, -1) });
    expect(filtersPerCategory(table, twins)).to.deep.equal({
      distinct: { ant: 1, bee: 2 },
      above: { ant: 0, bee: 2 },
      served: 0,
    });
  });
});
