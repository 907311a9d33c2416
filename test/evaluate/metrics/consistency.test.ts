import { expect } from 'chai';
import type { Annotations } from '../../../lib/data/landmarks.js';
import {
  cellCentre,
  consistency,
  emptyPeaks,
  noiseStability,
  withNoise,
  type Grid,
  type Peaks,
} from '../../../lib/evaluate/metrics/index.js';
import { Random } from '../../../lib/random.js';
import { failure } from '../../support/performer.js';

const GRID: Grid = { rows: 6, columns: 6, stride: [16, 16], first: [7.5, 7.5] };
const SIZE = 96;
const [IMAGES, FILTERS, PARTS] = [40, 12, 3];

/** Random landmarks of two categories, some of them hidden. */
function someAnnotations(random: Random): Annotations {
  const place = (): Float64Array =>
    Float64Array.from({ length: IMAGES * PARTS }, () => random.uniform(0, SIZE - 1));
  const [y, x] = [place(), place()];
  y.forEach((_, i) => {
    if (random.uniform() < 0.3) y[i] = x[i] = NaN;
  });
  const category = Int32Array.from({ length: IMAGES }, () => random.int(2));
  const parts = ['head', 'tail', 'wing'];
  return { size: SIZE, categories: ['cat', 'dog'], category, parts, y, x };
}

/** Filter f follows part f mod 3 where it is seen, else it is anywhere; some images leave it silent. */
function somePeaks(random: Random, { y, x }: Annotations, wobble: number): Peaks {
  const peaks = emptyPeaks(IMAGES, FILTERS);
  for (let i = 0; i < IMAGES * FILTERS; i++) {
    const [n, f] = [Math.floor(i / FILTERS), i % FILTERS];
    const at = n * PARTS + (f % PARTS);
    const cell = (where: number | undefined): number =>
      Number.isNaN(where) ? random.int(6) : Math.floor(((where ?? 0) + 0.5) / 16);
    const far = random.uniform() < wobble;
    peaks.cell[i] = far ? random.int(36) : 6 * cell(y[at]) + cell(x[at]);
    peaks.value[i] = f === 5 || random.uniform() < 0.2 ? 0 : random.uniform(0.1, 1);
  }
  return peaks;
}

/** The parts that a filter meets in an image, straight from the definition. */
function partsMet(peaks: Peaks, annotations: Annotations, half: number) {
  return (n: number, f: number): boolean[] => {
    const [cy, cx] = cellCentre(GRID, peaks.cell[n * FILTERS + f] ?? 0);
    const fires = (peaks.value[n * FILTERS + f] ?? 0) > 0;
    const box = [cy - half * SIZE, cy + half * SIZE, cx - half * SIZE, cx + half * SIZE];
    const [top = 0, bottom = 0, left = 0, right = 0] = box;
    return Array.from({ length: PARTS }, (_, k) => {
      const [y, x] = [annotations.y[n * PARTS + k] ?? NaN, annotations.x[n * PARTS + k] ?? NaN];
      return fires && y >= top && y < bottom && x >= left && x < right;
    });
  };
}

/** Index of the category of the largest mean activation. */
function categoryOf(peaks: Peaks, { category }: Annotations, f: number): number {
  const means = [0, 1].map((c) => {
    const own = [...category.keys()].filter((n) => category[n] === c);
    return own.reduce((sum, n) => sum + (peaks.value[n * FILTERS + f] ?? 0), 0) / own.length;
  });
  return (means[1] ?? 0) > (means[0] ?? 0) ? 1 : 0;
}

function referenceConsistency(peaks: Peaks, annotations: Annotations, half: number): number[] {
  const met = partsMet(peaks, annotations, half);
  return Array.from({ length: FILTERS }, (_, f) => {
    if (f === 5) return NaN;
    const c = categoryOf(peaks, annotations, f);
    const shares = [0, 1, 2].map((k) => {
      let [sum, seen] = [0, 0];
      for (let n = 0; n < IMAGES; n++) {
        if (annotations.category[n] !== c || Number.isNaN(annotations.y[n * PARTS + k])) continue;
        seen++;
        if (met(n, f)[k]) sum++;
      }
      return sum / seen;
    });
    return Math.max(...shares);
  });
}

function referenceStability(
  pair: readonly [Peaks, Peaks],
  annotations: Annotations,
  half: number,
): number[] {
  const [clean, noisy] = pair.map((peaks) => partsMet(peaks, annotations, half));
  return Array.from({ length: FILTERS }, (_, f) => {
    if (f === 5) return NaN;
    const c = categoryOf(pair[0], annotations, f);
    let [same, count] = [0, 0];
    for (let n = 0; n < IMAGES; n++) {
      const seen = [0, 1, 2].some((k) => !Number.isNaN(annotations.y[n * PARTS + k]));
      const [before, after] = pair.map(({ value }) => (value[n * FILTERS + f] ?? 0) > 0);
      if (annotations.category[n] !== c || !seen || !before) continue;
      count++;
      if (after && String(clean?.(n, f)) === String(noisy?.(n, f))) same++;
    }
    return same / count;
  });
}

function closeTo(found: Float64Array, wanted: readonly number[]): void {
  expect(found).to.have.length(wanted.length);
  wanted.forEach((value, f) => {
    if (Number.isNaN(value)) expect(found[f], `filter ${String(f)}`).to.be.NaN;
    else expect(found[f], `filter ${String(f)}`).to.be.closeTo(value, 1e-12);
  });
}

describe('consistency and stability under noise', () => {
  const random = new Random(4, 'test/consistency');
  const annotations = someAnnotations(random);
  const peaks = somePeaks(random, annotations, 0.15);
  const noisy = somePeaks(random, annotations, 0.4);
  const input = { peaks, annotations, grid: GRID };

  for (const half of [undefined, 0.05, 0.4]) {
    it(`follow their definitions, half ${String(half)}`, () => {
      const options = half === undefined ? {} : { half };
      const wanted = referenceConsistency(peaks, annotations, half ?? 36 / 224);
      const found = consistency(input, { ...options, threshold: 0.6 });
      closeTo(found.perFilter, wanted);
      const alive = wanted.filter((share) => !Number.isNaN(share));
      expect(alive).to.have.length(FILTERS - 1);
      const share = alive.filter((one) => one >= 0.6).length / alive.length;
      expect(found.value).to.be.closeTo(share, 1e-12);
      const stable = noiseStability({ ...input, noisy }, options);
      const same = referenceStability([peaks, noisy], annotations, half ?? 36 / 224);
      closeTo(stable.perFilter, same);
      const known = same.filter((one) => !Number.isNaN(one));
      const mean = known.reduce((sum, one) => sum + one, 0) / known.length;
      expect(stable.value).to.be.closeTo(mean, 1e-12);
    });
  }

  it('consistency names the part; the threshold decides', () => {
    const { part, perFilter } = consistency(input);
    expect(part[0]).to.match(/^(cat|dog)\/head$/);
    expect(part[5]).to.equal(undefined);
    const [share = 0] = perFilter;
    const only = (threshold: number): number => consistency(input, { threshold }).value;
    expect(only(0)).to.equal(1);
    expect(only(1.01)).to.equal(0);
    expect(only(share)).to.be.greaterThan(0);
  });

  it('a filter is stable against no noise, and not when noise silences it', () => {
    expect(noiseStability({ ...input, noisy: peaks }).value).to.equal(1);
    const silent = emptyPeaks(IMAGES, FILTERS);
    expect(noiseStability({ ...input, noisy: silent }).value).to.equal(0);
  });

  it('refuses peaks of other images or filters', async () => {
    for (const wrong of [emptyPeaks(IMAGES, 3), emptyPeaks(7, FILTERS)]) {
      await failure('E_SHAPE', /peaks of/, () => noiseStability({ ...input, noisy: wrong }));
    }
  });

  it('noise has the deviation that was asked for, ends at the limit, and follows the seed', () => {
    const pixels = new Float32Array(20_000).fill(3);
    const noise = withNoise(pixels, { seed: 1, deviation: 0.1, limit: 10 }).map((v) => v - 3);
    const square = noise.reduce((sum, v) => sum + v * v, 0) / noise.length;
    expect(Math.sqrt(square)).to.be.closeTo(0.1, 0.002);
    const cut = withNoise(pixels, { seed: 1 });
    expect(Math.max(...cut)).to.be.closeTo(3.25, 1e-6);
    expect(Math.min(...cut)).to.be.closeTo(2.75, 1e-6);
    expect(withNoise(pixels, { seed: 1 })).to.deep.equal(cut);
    expect(withNoise(pixels, { seed: 2 })).to.not.deep.equal(cut);
    expect(pixels[0]).to.equal(3);
  });
});
