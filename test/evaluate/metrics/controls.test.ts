import { expect } from 'chai';
import type { Annotations } from '../../../lib/data/landmarks.js';
import {
  cellCentre,
  controls,
  deviation,
  mean,
  type Grid,
} from '../../../lib/evaluate/metrics/index.js';
import { Random } from '../../../lib/random.js';

const GRID: Grid = { rows: 7, columns: 7, stride: [16, 16], first: [7.5, 7.5] };

/** Heads of `category` i spread by `spread[i]` pixels around a centre; 60 images of each. */
function heads(spread: readonly number[], centre: readonly [number, number]): Annotations {
  const random = new Random(1, 'heads');
  const category = Int32Array.from({ length: 60 * spread.length }, (_, n) => Math.floor(n / 60));
  const around = (axis: 0 | 1): Float64Array =>
    Float64Array.from(category, (c) => centre[axis] + (spread[c] ?? 0) * random.uniform(-1, 1));
  const categories = spread.map((_, c) => `category${String(c)}`);
  return { size: 112, categories, category, parts: ['head'], y: around(0), x: around(1) };
}

describe('controls', () => {
  it('finds nothing better than 0 when the object never moves', () => {
    const result = controls({ annotations: heads([0], [30, 30]), grid: GRID }, { seed: 1 });
    expect(result.fixedPositionBest).to.be.closeTo(0, 1e-12);
    expect(result.fixedPositionCentre).to.be.closeTo(0, 1e-12);
    expect(result.random).to.be.above(0.1);
  });

  it('scores the centre and the best cell over all annotated images, categories alike', () => {
    const annotations = heads([30, 10], [50, 60]);
    const result = controls({ annotations, grid: GRID }, { seed: 1 });
    const fixed = (y: number, x: number): number =>
      mean(
        [0, 1].map((c) => {
          const own = [...annotations.category.keys()].filter((n) => annotations.category[n] === c);
          const distances = own.map(
            (n) =>
              Math.hypot(y - (annotations.y[n] ?? 0), x - (annotations.x[n] ?? 0)) /
              (112 * Math.SQRT2),
          );
          return deviation(distances);
        }),
      );
    expect(result.fixedPositionCentre).to.be.closeTo(fixed(55.5, 55.5), 1e-12);
    const all = Array.from({ length: 49 }, (_, cell) => fixed(...cellCentre(GRID, cell)));
    expect(result.fixedPositionBest).to.be.closeTo(Math.min(...all), 1e-12);
    expect(all[result.fixedPositionBestCell]).to.be.closeTo(result.fixedPositionBest, 1e-12);
  });

  it('draws random positions by the seed, near what chance gives', () => {
    const annotations = heads([5], [55, 55]);
    const random = (seed: number, filters = 64): number =>
      controls({ annotations, grid: GRID }, { seed, filters }).random;
    expect(random(1)).to.equal(random(1));
    expect(random(1)).to.not.equal(random(2));
    // standard deviation of the distance from the middle to the cells of the grid
    const distances = Array.from({ length: 49 }, (_, cell) => {
      const [y, x] = cellCentre(GRID, cell);
      return Math.hypot(y - 55, x - 55) / (112 * Math.SQRT2);
    });
    expect(random(3, 200)).to.be.closeTo(deviation(distances), 0.01);
  });
});
