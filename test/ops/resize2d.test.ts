import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { resize2d } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { constant, integers, uniform, type Draw } from '../support/draw.js';
import { backends, runGraph } from '../support/engine.js';
import { Grid, sizes } from '../support/grid.js';

type Table = `${'row' | 'column'}_${'low' | 'high' | 'share'}`;
type Case = OpCase<'x' | Table, object>;

const places =
  (at: (p: number) => number): Draw =>
  (_, count) =>
    Array.from({ length: count }, (_, p) => at(p));

/** Tables of ONNX Resize, linear, half pixel. */
function linear(axis: 'row' | 'column', size: number, count: number): Partial<Record<Table, Draw>> {
  const middle = (p: number): number =>
    Math.min(Math.max(((p + 0.5) * size) / count - 0.5, 0), size - 1);
  return {
    [`${axis}_low`]: places((p) => Math.floor(middle(p))),
    [`${axis}_high`]: places((p) => Math.min(Math.floor(middle(p)) + 1, size - 1)),
    [`${axis}_share`]: places((p) => middle(p) % 1),
  };
}

function of(
  x: [number, number, number, number],
  P: number,
  Q: number,
  draw: Case['draw'],
  large = false,
): Case {
  const [rows, columns] = [[P], [Q]];
  return {
    shapes: {
      x,
      row_low: rows,
      row_high: rows,
      row_share: rows,
      column_low: columns,
      column_high: columns,
      column_share: columns,
    },
    attrs: {},
    draw: draw ?? {},
    large,
  };
}
const both = (H: number, W: number, P: number, Q: number): Case['draw'] => ({
  ...linear('row', H, P),
  ...linear('column', W, Q),
});
const nearest: Case['draw'] = { row_share: constant(0), column_share: constant(0) };

describe('ops: resize2d', () => {
  const whole = { dtype: 'i32', draw: integers(3) } as const;
  const share = { draw: uniform(0, 1) };
  checkOp<'x' | Table, object>(
    {
      name: 'resize2d',
      inputs: {
        x: {},
        row_low: whole,
        row_high: whole,
        row_share: share,
        column_low: whole,
        column_high: whole,
        column_share: share,
      },
      wrt: ['x'],
      build: ({ x, ...t }) => ({
        y: resize2d(x, {
          rows: { low: t.row_low, high: t.row_high, share: t.row_share },
          columns: { low: t.column_low, high: t.column_high, share: t.column_share },
        }),
      }),
      wrong: [
        { shapes: { x: [2, 5] }, text: /\[resize2d\] Expected x of shape \(N, C, H, W\)/ },
        {
          shapes: { row_share: [4] },
          text: /\[resize2d\] Expected row_share of shape \(P\) with P = 7/,
        },
      ],
    },
    ({ x, ...t }, _, f) => {
      const [N, C] = sizes(x);
      const y = new Grid([N, C, t.row_low.data.length, t.column_low.data.length]);
      for (const [n, c, p, q] of y.cells()) {
        const [s, u] = [t.row_share.at(p), t.column_share.at(q)];
        const across = (i: number): number =>
          f(
            f(f(1 - u) * x.at(n, c, i, t.column_low.at(q))) +
              f(u * x.at(n, c, i, t.column_high.at(q))),
          );
        const [above, below] = [across(t.row_low.at(p)), across(t.row_high.at(p))];
        y.set(f(f(f(1 - s) * above) + f(s * below)), n, c, p, q);
      }
      return { y };
    },
    [
      of([2, 5, 3, 4], 7, 6, {}), // tables in no order
      of([2, 5, 3, 4], 6, 8, both(3, 4, 6, 8)),
      of([1, 17, 5, 4], 3, 7, both(5, 4, 3, 7)),
      of([1, 3, 3, 3], 9, 2, nearest),
      of([1, 3, 1, 1], 2, 3, both(1, 1, 2, 3)),
      of([2, 40, 14, 14], 28, 28, both(14, 14, 28, 28), true),
    ],
  );

  for (const backend of backends()) {
    it(`places outside count as the nearest inside, share 0 reads low alone on ${backend}`, async () => {
      const graph = new Graph();
      const axis = {
        low: graph.input('low', [3], { dtype: 'i32' }),
        high: graph.input('high', [3], { dtype: 'i32' }),
        share: graph.input('share', [3]),
      };
      const one = {
        low: graph.constant(-9, [1], { dtype: 'i32' }),
        high: graph.constant(9, [1], { dtype: 'i32' }),
        share: graph.constant(0, [1]),
      };
      graph.output('y', resize2d(graph.input('x', [1, 1, 1, 2]), { rows: one, columns: axis }));
      const values = {
        x: Float32Array.of(1, Infinity),
        low: Int32Array.of(-(2 ** 31), 0, 2 ** 31 - 1),
        high: Int32Array.of(-5, 1, 2),
        share: Float32Array.of(0.5, 0, 0),
      };
      const { y } = await runGraph(graph, values, { backend });
      expect([...(y ?? [])]).to.deep.equal([1, 1, Infinity]);
    });
  }
});
