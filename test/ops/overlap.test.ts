import { overlap, type OverlapOptions } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { constant, normal, type Draw } from '../support/draw.js';
import { Grid, sizes, type Round } from '../support/grid.js';

/** G[f,g] = sum over images and positions of x_f x_g. */
function gram(x: Grid, f: Round): Grid {
  const [, D] = sizes(x);
  const G = new Grid([D, D]);
  for (const [n, d, i, j] of x.cells()) {
    for (let e = 0; e < D; e++) G.set(f(G.at(d, e) + f(x.at(n, d, i, j) * x.at(n, e, i, j))), d, e);
  }
  return G;
}

/** Maps as a ReLU leaves them; filter d of D times `strength(d)`. */
const maps =
  (D: number, cells: number, strength: (d: number) => number = () => 1): Draw =>
  (random, count) =>
    Array.from(
      normal(random, count),
      (value, i) => Math.max(value, 0) * strength(Math.floor(i / cells) % D),
    );

/** Similar maps for every filter: the number of the cell, and something of its own. */
const alike =
  (cells: number): Draw =>
  (random, count) =>
    Array.from(normal(random, count), (value, i) => (i % cells) / cells + 0.2 * value);

function of(
  x: [number, number, number, number],
  {
    draw,
    attrs = {},
    ...rest
  }: { draw?: Draw; attrs?: OverlapOptions; large?: boolean; samples?: number } = {},
): OpCase<'x', OverlapOptions> {
  const [, D, H, W] = x;
  return { shapes: { x }, attrs, draw: { x: draw ?? maps(D, H * W) }, ...rest };
}

describe('ops: overlap', () => {
  checkOp<'x', OverlapOptions>(
    {
      name: 'overlap',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ loss: overlap(x, attrs) }),
    },
    // mean over f != g of -1/2 log(1 - (1 - shrink) min(G_fg^2 / (e_f e_g), 1))
    ({ x }, { floor = 0.0025, shrink = 0.01 }, f) => {
      const G = gram(x, f);
      const [D] = sizes(G);
      const own = Array.from({ length: D }, (_, d) => G.at(d, d));
      const least = f(f(Math.fround(floor) * own.reduce((sum, value) => f(sum + value), 0)) / D);
      const energy = own.map((value) => Math.max(value, least));
      let loss = 0;
      for (const [d, e] of G.cells()) {
        const both = f((energy[d] ?? 0) * (energy[e] ?? 0));
        if (d === e || both === 0) continue;
        const s = Math.min(f(f(G.at(d, e) ** 2) / both), 1);
        loss = f(loss - f(Math.log(f(1 - f((1 - Math.fround(shrink)) * s)))) / 2);
      }
      return { loss: new Grid([], [D > 1 ? f(loss / (D * (D - 1))) : 0]) };
    },
    [
      of([2, 5, 3, 4]),
      of([1, 2, 1, 1]),
      of([3, 1, 4, 4]), // one filter: nothing to overlap with
      of([2, 37, 5, 5]),
      of([2, 5, 3, 4], { attrs: { shrink: 0.3, floor: 0.5 } }),
      of([2, 5, 3, 4], { draw: maps(5, 12, (d) => (d === 2 ? 0 : 1)) }), // a dead filter
      of([2, 5, 3, 4], { draw: maps(5, 12, (d) => 0.02 ** d) }), // all but two below the floor
      of([2, 5, 3, 4], { draw: constant(0) }),
      of([2, 5, 3, 4], { draw: alike(12) }),
      of([3, 40, 14, 14], { large: true, samples: 5 }),
    ],
  );
});
