import { expect } from 'chai';
import type { Grid } from '../../lib/evaluate/metrics/index.js';
import { contourPath, thousandths } from '../../lib/report/contour.js';

/** 10 x 10 pixels, 5 x 5 cells of 2 pixels. */
const grid: Grid = { rows: 5, columns: 5, stride: [2, 2], first: [0.5, 0.5] };
const SIZE = 10;

/** The points of the path's rings. */
function points(path: string): [number, number][][] {
  return [...path.matchAll(/M(\d+) (\d+)l([^z]*)z/g)].map(([, x0, y0, moves = '']) => {
    let [x, y] = [Number(x0), Number(y0)];
    const numbers = moves.match(/-?\d+/g)?.map(Number) ?? [];
    const ring: [number, number][] = [[x, y]];
    for (let i = 0; i < numbers.length; i += 2) {
      x += numbers[i] ?? 0;
      y += numbers[i + 1] ?? 0;
      ring.push([x, y]);
    }
    return ring;
  });
}

describe('report: contours', () => {
  it('a single cell has a ring around its centre, half a cell wide at half its height', () => {
    const map = new Float32Array(25);
    map[2 * 5 + 3] = 8; // row 2, column 3: centre at pixel (6.5, 4.5), that is 0.7 and 0.5
    const [ring = [], ...others] = points(contourPath(map, { grid, size: SIZE, level: 4 }));
    expect(others).to.deep.equal([]);
    const xs = ring.map(([x]) => x);
    const ys = ring.map(([, y]) => y);
    expect([Math.min(...xs), Math.max(...xs)]).to.deep.equal([600, 800]);
    expect([Math.min(...ys), Math.max(...ys)]).to.deep.equal([400, 600]);
  });

  it('crosses where the interpolated map has the level', () => {
    const map = new Float32Array(25);
    map[12] = 8; // the middle cell
    const [ring = []] = points(contourPath(map, { grid, size: SIZE, level: 2 }));
    // 8 -> 0 over one cell of 200: 2 is reached three quarters of the way.
    expect(Math.max(...ring.map(([x]) => x))).to.equal(500 + 150);
  });

  it('stays closed at the border, also beyond the image', () => {
    const map = new Float32Array(25);
    map[0] = 1;
    const [ring = []] = points(contourPath(map, { grid, size: SIZE, level: 0.5 }));
    expect(ring.length).to.be.greaterThan(3);
    const corner = new Float32Array(25).fill(1);
    expect(points(contourPath(corner, { grid, size: SIZE, level: 0.5 }))).to.have.length(1);
  });

  it('one ring for each blob, none for a silent map', () => {
    const map = new Float32Array(25);
    map[0] = map[24] = 1;
    expect(points(contourPath(map, { grid, size: SIZE, level: 0.5 }))).to.have.length(2);
    expect(contourPath(new Float32Array(25), { grid, size: SIZE, level: 0.5 })).to.equal('');
  });

  it('thousandths: the middle of the first pixel is half a pixel from the edge', () => {
    expect([thousandths(0, 10), thousandths(9, 10), thousandths(4.5, 10)]).to.deep.equal([
      50, 950, 500,
    ]);
  });
});
