import { avgpool2d, globalAvgpool2d, type Pool2dOptions } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { Grid, sizes } from '../support/grid.js';
import { poolSizes } from '../support/pool.js';

function of(
  x: [number, number, number, number],
  attrs: Pool2dOptions,
  large = false,
): OpCase<'x', Pool2dOptions> {
  return { shapes: { x }, attrs, large };
}

describe('ops: avgpool2d', () => {
  checkOp<'x', Pool2dOptions>(
    {
      name: 'avgpool2d',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ y: avgpool2d(x, attrs) }),
      wrong: [
        { shapes: { x: [2, 5] }, text: /\[avgpool2d\] Expected x of shape \(N, C, H, W\)/ },
        { shapes: { x: [2, 5, 6, 1] }, text: /\[avgpool2d\] .* for y but received \(2, 5, 3, 0\)/ },
        {
          shapes: {},
          attrs: { kernel: 3, pad: 3 },
          text: /pad below the kernel/,
          code: 'E_ARGUMENT',
        },
        { shapes: {}, attrs: { kernel: 2, stride: 0 }, text: /for stride/, code: 'E_ARGUMENT' },
      ],
    },
    // the divisor counts cells of the image, with countIncludePad those of the padding too
    ({ x }, options, f) => {
      const { kernel, stride, top, left, bottom, right, P, Q } = poolSizes(x, options);
      const [N, C, H, W] = sizes(x);
      const y = new Grid([N, C, P, Q]);
      for (const [n, c, p, q] of y.cells()) {
        let sum = 0;
        let count = 0;
        for (let r = 0; r < kernel[0]; r++) {
          for (let s = 0; s < kernel[1]; s++) {
            const [i, j] = [p * stride[0] + r - top, q * stride[1] + s - left];
            const inImage = i >= 0 && i < H && j >= 0 && j < W;
            const inPadding = i < H + bottom && j < W + right;
            count += Number(options.countIncludePad ? inPadding : inImage);
            sum = f(sum + x.at(n, c, i, j));
          }
        }
        y.set(f(sum / count), n, c, p, q);
      }
      return { y };
    },
    [
      of([2, 5, 6, 7], { kernel: 2 }),
      of([1, 17, 7, 7], { kernel: 3, stride: 2, pad: 1 }),
      of([1, 17, 7, 7], { kernel: 3, stride: 2, pad: 1, countIncludePad: true }),
      of([2, 3, 6, 6], { kernel: 3, stride: 2, ceil: true }),
      of([2, 3, 6, 6], {
        kernel: 3,
        stride: 2,
        ceil: true,
        pad: [1, 1, 0, 2],
        countIncludePad: true,
      }),
      of([1, 4, 7, 5], { kernel: [3, 2], stride: [1, 2], pad: [1, 0, 2, 1] }),
      of([4, 40, 14, 14], { kernel: 2 }, true),
    ],
  );

  checkOp<'x', object>(
    {
      name: 'global_avgpool2d',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }) => ({ y: globalAvgpool2d(x) }),
    },
    ({ x }, _, f) => {
      const [N, C, H, W] = sizes(x);
      const y = new Grid([N, C, 1, 1]);
      for (const [n, c, i, j] of x.cells()) y.set(f(y.at(n, c) + x.at(n, c, i, j)), n, c);
      return { y: y.map((sum) => f(sum / (H * W))) };
    },
    [
      { shapes: { x: [2, 5, 3, 4] }, attrs: {} },
      { shapes: { x: [3, 33, 1, 1] }, attrs: {} },
    ],
  );
});
