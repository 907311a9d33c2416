import { expect } from 'chai';
import { gradient } from '../../lib/engine/grad.js';
import { Graph } from '../../lib/engine/graph.js';
import { maxpool2d, type Pool2dOptions } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { distinct } from '../support/draw.js';
import { runGraph, type Arrays } from '../support/engine.js';
import { Grid, sizes } from '../support/grid.js';
import { poolSizes } from '../support/pool.js';

function of(
  x: [number, number, number, number],
  attrs: Pool2dOptions,
  large = false,
): OpCase<'x', Pool2dOptions> {
  return { shapes: { x }, attrs, large };
}

/** y and dx of one map, g = 1 everywhere. */
async function pooled(size: number, values: number[], options: Pool2dOptions): Promise<Arrays> {
  const graph = new Graph();
  const x = graph.input('x', [1, 1, size, size]);
  const y = maxpool2d(x, options);
  const [dx] = gradient([{ of: y, gradient: graph.constant(1, y.shape) }], [x]);
  graph.output('y', y);
  if (dx) graph.output('dx', dx);
  return runGraph(graph, { x: Float32Array.from(values) });
}

describe('ops: maxpool2d', () => {
  checkOp<'x', Pool2dOptions>(
    {
      name: 'maxpool2d',
      inputs: { x: { draw: distinct() } },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ y: maxpool2d(x, attrs) }),
      wrong: [
        { shapes: { x: [2, 5] }, text: /\[maxpool2d\] Expected x of shape \(N, C, H, W\)/ },
        { shapes: { x: [2, 5, 1, 6] }, text: /\[maxpool2d\] .* for y but received \(2, 5, 0, 3\)/ },
        {
          shapes: {},
          attrs: { kernel: 2, pad: 2 },
          text: /pad below the kernel/,
          code: 'E_ARGUMENT',
        },
        {
          shapes: {},
          attrs: { kernel: 2, dilation: 9, pad: 5 },
          text: /windows that each hold a cell/,
          code: 'E_ARGUMENT',
        },
        { shapes: {}, attrs: { kernel: 0 }, text: /integers >= 1 for kernel/, code: 'E_ARGUMENT' },
      ],
    },
    ({ x }, options) => {
      const { kernel, dilation, stride, top, left, P, Q } = poolSizes(x, options);
      const [N, C, H, W] = sizes(x);
      const y = new Grid([N, C, P, Q]);
      for (const [n, c, p, q] of y.cells()) {
        let best = -Infinity;
        for (let r = 0; r < kernel[0]; r++) {
          for (let s = 0; s < kernel[1]; s++) {
            const i = p * stride[0] + r * dilation[0] - top;
            const j = q * stride[1] + s * dilation[1] - left;
            const inside = i >= 0 && i < H && j >= 0 && j < W;
            if (inside) best = Math.max(best, x.at(n, c, i, j));
          }
        }
        y.set(best, n, c, p, q);
      }
      return { y };
    },
    [
      of([2, 5, 6, 7], { kernel: 2 }),
      of([1, 17, 7, 7], { kernel: 3, stride: 2, pad: 1 }),
      of([2, 3, 6, 6], { kernel: 3, stride: 2, ceil: true }),
      of([2, 5, 9, 8], { kernel: 3, stride: 2, pad: 2, dilation: [2, 3] }),
      of([1, 17, 8, 9], {
        kernel: [2, 3],
        stride: 1,
        pad: [0, 3, 1, 3],
        dilation: [4, 2],
        ceil: true,
      }),
      of([1, 4, 7, 5], { kernel: [3, 2], stride: [1, 2], pad: [1, 0, 2, 1] }),
      of([1, 2, 5, 5], { kernel: 2, stride: 3, ceil: true }),
      of([2, 2, 4, 4], { kernel: 1 }),
      of([1, 3, 5, 4], { kernel: [5, 4] }),
      of([4, 40, 14, 14], { kernel: 3, stride: 2 }, true),
    ],
  );

  it('ties: the gradient goes to the first maximum in row-major order', async () => {
    const { y, dx } = await pooled(3, [0, 1, 1, 2, 2, 1, 0, 0, 0], { kernel: 2, stride: 1 });
    expect([...(y ?? [])]).to.deep.equal([2, 2, 2, 2]);
    expect([...(dx ?? [])]).to.deep.equal([0, 0, 0, 2, 2, 0, 0, 0, 0]);
  });

  it('padding never wins over negative values', async () => {
    const { y, dx } = await pooled(2, [-4, -3, -2, -1], { kernel: 2, stride: 2, pad: 1 });
    expect([...(y ?? [])]).to.deep.equal([-4, -3, -2, -1]);
    expect([...(dx ?? [])]).to.deep.equal([1, 1, 1, 1]);
  });

  it('NaN and infinities win and get the gradient', async () => {
    const { y, dx } = await pooled(2, [1, NaN, Infinity, NaN], { kernel: 2 });
    expect([...(y ?? [])]).to.deep.equal([NaN]);
    expect([...(dx ?? [])]).to.deep.equal([0, 1, 0, 0]);
    const low = await pooled(2, [-Infinity, -Infinity, -Infinity, -Infinity], { kernel: 2 });
    expect([...(low.y ?? [])]).to.deep.equal([-Infinity]);
    expect([...(low.dx ?? [])]).to.deep.equal([1, 0, 0, 0]);
  });
});
