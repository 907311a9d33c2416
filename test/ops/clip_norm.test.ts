import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { clipNorm } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { constant, normal, type Draw } from '../support/draw.js';
import { Grid, type Round } from '../support/grid.js';
import { failure } from '../support/performer.js';

type Inputs = 'a' | 'b' | 'c';
interface Attrs {
  most: number;
}

function norm(grids: readonly Grid[], f: Round): number {
  let sum = 0;
  for (const { data } of grids) for (const value of data) sum = f(sum + f(value * value));
  return f(Math.sqrt(sum));
}

const scaled =
  (factor: number): Draw =>
  (random, count) =>
    Array.from(normal(random, count), (value) => value * factor);

function of(
  most: number,
  draw: Partial<Record<Inputs, Draw>> = {},
  a = [2, 5, 3, 4],
): OpCase<Inputs, Attrs> {
  return { shapes: { a, b: [3, 7], c: [] }, attrs: { most }, draw, large: a.length > 4 };
}

describe('ops: clip_norm', () => {
  checkOp<Inputs, Attrs>(
    {
      name: 'clip_norm',
      inputs: { a: {}, b: {}, c: {} },
      build: ({ a, b, c }, attrs) => {
        const [y, z, s] = clipNorm([a, b, c], attrs);
        if (!y || !z || !s) throw new Error('three gradients');
        return { y, z, s };
      },
    },
    // g min(1, most / |all g|)
    ({ a, b, c }, { most }, f) => {
      const all = norm([a, b, c], f);
      const limit = Math.fround(most);
      const factor = all > limit ? f(limit / all) : 1;
      const times = (grid: Grid): Grid =>
        new Grid(
          [...grid.shape],
          Array.from(grid.data, (value) => f(value * factor)),
        );
      return { y: times(a), z: times(b), s: times(c) };
    },
    [
      of(1),
      of(1000), // as they are
      of(0.5, { a: constant(0), b: constant(0) }), // one number alone
      of(1, { a: constant(0), b: constant(0), c: constant(0) }),
      of(1, { a: scaled(2 ** 70) }), // squares that float32 cannot hold
      of(2, {}, [8, 40, 14, 14]),
    ],
  );

  it('no gradients are no gradients; a norm of nothing is E_ARGUMENT', async () => {
    expect(clipNorm([], { most: 1 })).to.deep.equal([]);
    const graph = new Graph();
    const x = graph.input('x', [2]);
    await failure('E_ARGUMENT', /a number > 0 for most but received 0/, () =>
      Promise.resolve(clipNorm([x], { most: 0 })),
    );
  });
});
