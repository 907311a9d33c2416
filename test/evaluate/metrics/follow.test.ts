import { expect } from 'chai';
import { drawPlacement, movePoint, placedPixels } from '../../../lib/data/placement.js';
import {
  emptyPeaks,
  follow,
  median,
  type Grid,
  type Peaks,
} from '../../../lib/evaluate/metrics/index.js';
import { Random } from '../../../lib/random.js';
import { failure } from '../../support/performer.js';

const GRID: Grid = { rows: 8, columns: 8, stride: [4, 4], first: [1.5, 1.5] };
const SIZE = 32;
const IMAGES = 30;

/** Photograph n moves by whole cells, [down, right]. */
const shift = (n: number): [number, number] => [1 + (n % 3), 2 - (n % 2)];
const move = (n: number, [y, x]: readonly [number, number]): [number, number] => {
  const [down, right] = shift(n);
  return [y + 4 * down, x + 4 * right];
};

/** Peaks of one filter given by a function of the photograph. */
function peaksAt(cell: (n: number) => number, value: (n: number) => number = () => 1): Peaks {
  const peaks = emptyPeaks(IMAGES, 1);
  for (let n = 0; n < IMAGES; n++) {
    peaks.cell[n] = cell(n);
    peaks.value[n] = value(n);
  }
  return peaks;
}

const start = (n: number): number => 8 * (n % 4) + (n % 5);
const moved = (n: number): number => start(n) + 8 * shift(n)[0] + shift(n)[1];

describe('metrics: follow', () => {
  const of = (a: Peaks, b: Peaks, options = {}): ReturnType<typeof follow> =>
    follow({ a, b, move, grid: GRID, size: SIZE }, options);

  it('is 1 exactly for a map that moves with the photograph, 0 for one that stays', () => {
    expect(of(peaksAt(start), peaksAt(moved))).to.include({ mean: 1, median: 1, within: 1 });
    const still = of(
      peaksAt(() => 27),
      peaksAt(() => 27),
    );
    expect(still).to.include({ mean: 0, median: 0, filters: 1, images: IMAGES });
    expect(still.within).to.equal(still.stay);
    const stays = of(peaksAt(start), peaksAt(start));
    expect([...stays.perFilter]).to.deep.equal([0]);
  });

  it('is what the equation says, for random peaks', () => {
    const random = new Random(1, 'follow');
    const cells = Array.from({ length: 2 }, () =>
      Array.from({ length: IMAGES }, () => random.int(64)),
    );
    const [a, b] = [peaksAt((n) => cells[0]?.[n] ?? 0), peaksAt((n) => cells[1]?.[n] ?? 0)];
    const centre = (cell = 0): number[] => [1.5 + 4 * Math.floor(cell / 8), 1.5 + 4 * (cell % 8)];
    let [error, way, near, stay] = [0, 0, 0, 0];
    for (let n = 0; n < IMAGES; n++) {
      const [from, to] = [centre(cells[0]?.[n]), centre(cells[1]?.[n])];
      const [down, right] = shift(n);
      const wanted = [from[0]! + 4 * down, from[1]! + 4 * right];
      const e = (to[0]! - wanted[0]!) ** 2 + (to[1]! - wanted[1]!) ** 2;
      const s = 16 * (down ** 2 + right ** 2);
      error += e;
      way += s;
      near += Number(Math.sqrt(e) < 0.2 * SIZE * Math.SQRT2);
      stay += Number(Math.sqrt(s) < 0.2 * SIZE * Math.SQRT2);
    }
    const found = of(a, b, { near: 0.2 });
    expect(found.mean).to.be.closeTo(1 - error / way, 1e-12);
    expect(found.mean, 'a map that jumps about').to.be.below(0);
    expect([found.within, found.stay]).to.deep.equal([near / IMAGES, stay / IMAGES]);
  });

  it('takes the strongest photographs in which the filter fires in both placements', () => {
    // the strongest twelve follow, the others stay; the two strongest are silent in one placement
    const strength = (n: number): number => 100 - n;
    const b = peaksAt((n) => (n < 12 ? moved(n) : start(n)), strength);
    b.value[0] = 0;
    const a = peaksAt(start, strength);
    a.value[1] = 0;
    expect(of(a, b, { top: 10 }).mean).to.equal(1);
    expect(of(a, b, { top: 11 }).mean).to.be.below(1);
    expect(of(a, b, { top: 10, least: 11 }))
      .to.include({ filters: 0 })
      .and.property('mean').NaN;
  });

  it('scores a filter on the class it answers to most', () => {
    const classes = Array.from({ length: IMAGES }, (_, n) => n % 2);
    const a = peaksAt(start, (n) => 1 + (n % 2));
    const b = peaksAt((n) => (n % 2 ? moved(n) : start(n)));
    expect(follow({ a, b, move, grid: GRID, size: SIZE, classes }).mean).to.equal(1);
    expect(of(a, b).mean).to.be.within(0.01, 0.99);
  });

  it('leaves out filters whose points do not move, and refuses what does not fit', async () => {
    const still = follow({
      ...{ a: peaksAt(start), b: peaksAt(moved), grid: GRID, size: SIZE },
      move: (_, point) => point,
    });
    expect(still.filters).to.equal(0);
    expect(still.mean).to.be.NaN;
    await failure('E_SHAPE', /1 filters/, () => of(peaksAt(start), emptyPeaks(IMAGES, 2)));
    await failure('E_SHAPE', /images/, () => of(peaksAt(start), emptyPeaks(3, 1)));
    const classes = [1];
    await failure('E_SHAPE', /30 classes|classes/, () =>
      follow({ a: peaksAt(start), b: peaksAt(start), move, grid: GRID, size: SIZE, classes }),
    );
    await failure('E_STATE', /finite/, () =>
      of(
        peaksAt(start, () => NaN),
        peaksAt(start),
      ),
    );
  });

  it('median of odd and even numbers', () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3])]).to.deep.equal([2, 2.5]);
    expect(median([])).to.be.NaN;
  });
});

describe('placements', () => {
  it('lie in the frame, on the grid of supersampled pixels, and depend on the seed alone', () => {
    const frame = { size: [48, 64] as const, supersample: 2 };
    const tops = new Set<number>();
    for (let i = 0; i < 200; i++) {
      const place = drawPlacement(frame, new Random(i, 'place'));
      expect(drawPlacement(frame, new Random(i, 'place'))).to.deep.equal(place);
      const { top, left, height, width, bottom, right } = placedPixels(frame, place);
      expect(top + height + bottom).to.equal(96);
      expect(left + width + right).to.equal(128);
      expect(height / 96)
        .to.be.within(0.49, 0.91)
        .and.closeTo(width / 128, 0.02);
      tops.add(top);
    }
    expect(tops.size).to.be.above(20);
  });

  it('take a point where the photograph takes it, and back', () => {
    const [a, b] = [
      { top: 0, left: 4, height: 16, width: 16 },
      { top: 8, left: 0, height: 24, width: 8 },
    ];
    // the corner pixel's outer edge stays the photograph's edge
    expect(movePoint([-0.5, 3.5], a, b)).to.deep.equal([7.5, -0.5]);
    expect(movePoint([15.5, 19.5], a, b)).to.deep.equal([31.5, 7.5]);
    const [y, x] = movePoint(movePoint([3, 9], a, b), b, a);
    expect([y, x]).to.deep.equal([3, 9]);
  });

  it('outside of the frame or between pixels are refused', async () => {
    const frame = { size: 16, supersample: 1 };
    const inside = { top: 0, left: 0, height: 16, width: 16 };
    for (const wrong of [{ top: 1 }, { left: 0.5 }, { height: 0 }, { width: 17 }, { top: -1 }]) {
      await failure('E_ARGUMENT', /within the input for placement/, () =>
        placedPixels(frame, { ...inside, ...wrong }),
      );
    }
  });
});
