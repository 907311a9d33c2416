import { expect } from 'chai';
import { contours } from '../../lib/explain/contour.js';

const N = 9;

/** A map (9, 9) with round hills of height 1 at [column, row]. */
function hills(...at: [number, number][]): Float32Array {
  return Float32Array.from({ length: N * N }, (_, i) =>
    Math.max(
      ...at.map(([x, y]) => Math.exp(-(((i % N) - x) ** 2 + (Math.floor(i / N) - y) ** 2) / 4)),
    ),
  );
}

/** Area of a polygon by the shoelace formula; the sign is its direction. */
function area(polygon: readonly [number, number][]): number {
  return polygon.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = polygon[(i + 1) % polygon.length]!;
    return sum + (x * nextY - nextX * y) / 2;
  }, 0);
}

describe('explain: contours', () => {
  it('of a round hill is a circle around its peak', () => {
    const [circle, ...more] = contours(hills([3, 5]), { rows: N, columns: N });
    expect(more).to.have.length(0);
    const radii = circle!.map(([x, y]) => Math.hypot(x - 3, y - 5));
    // A Gaussian of variance 2, blurred by the spline (variance 1/3), at half of its height.
    const radius = Math.sqrt(2 * Math.LN2 * (2 + 1 / 3));
    for (const r of radii) expect(r).to.be.closeTo(radius, 0.08);
    expect(Math.abs(area(circle!))).to.be.closeTo(Math.PI * radius ** 2, 0.4);
  });

  it('of two hills are two polygons, of the same direction', () => {
    const found = contours(hills([1, 1], [7, 6]), { rows: N, columns: N });
    expect(found).to.have.length(2);
    expect(Math.sign(area(found[0]!))).to.equal(Math.sign(area(found[1]!)));
  });

  it('of a ring are two: the hole runs the other way', () => {
    const ring = Float32Array.from({ length: N * N }, (_, i) =>
      Math.exp(-((Math.hypot((i % N) - 4, Math.floor(i / N) - 4) - 3) ** 2)),
    );
    const areas = contours(ring, { rows: N, columns: N }).map(area);
    expect(areas).to.have.length(2);
    expect(areas[0]! * areas[1]!).to.be.below(0);
  });

  it('closes outside of the map, and changes neither with factor nor with the empty map', () => {
    for (const [x, y] of [
      [0, 0],
      [8, 8],
      [0, 8],
    ] as const) {
      const [only, ...more] = contours(hills([x, y]), { rows: N, columns: N });
      expect(more).to.have.length(0);
      expect(Math.abs(area(only!))).to.be.above(2);
      for (const [px, py] of only!) expect(Math.min(px, py)).to.be.within(-2, 9);
    }
    const map = hills([4, 2]);
    expect(
      contours(
        map.map((value) => value * 1e6),
        { rows: N, columns: N },
      )[0],
    ).to.have.length(contours(map, { rows: N, columns: N })[0]!.length);
    expect(contours(new Float32Array(N * N), { rows: N, columns: N })).to.deep.equal([]);
  });

  it('a map that is the same everywhere has one outline', () => {
    expect(contours(new Float32Array(N * N).fill(3), { rows: N, columns: N })).to.have.length(1);
    expect(contours(new Float32Array([1]), { rows: 1, columns: 1 })).to.have.length(1);
  });
});
