import { pad2d, type Pad2dOptions } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { Grid, sizes } from '../support/grid.js';

function of(
  x: [number, number, number, number],
  attrs: Pad2dOptions,
  large = false,
): OpCase<'x', Pad2dOptions> {
  return { shapes: { x }, attrs, large };
}

/** The place of a side of `size` that place i shows, NaN for the value of mode constant. */
function source(mode: Pad2dOptions['mode'], i: number, size: number): number {
  if (mode === 'edge') return Math.min(Math.max(i, 0), size - 1);
  if (mode === 'wrap') return (i + size) % size;
  if (mode === 'reflect') return size - 1 - Math.abs(size - 1 - Math.abs(i));
  return i >= 0 && i < size ? i : NaN;
}

describe('ops: pad2d', () => {
  const refused = (attrs: Pad2dOptions, text: RegExp) =>
    ({ shapes: {}, attrs, text, code: 'E_ARGUMENT' }) as const;
  checkOp<'x', Pad2dOptions>(
    {
      name: 'pad2d',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ y: pad2d(x, attrs) }),
      wrong: [
        { shapes: { x: [2, 5] }, text: /\[pad2d\] Expected x of shape \(N, C, H, W\)/ },
        refused(
          { pad: [0, 0, 4, 0], mode: 'reflect' },
          /\[pad2d\] Expected pad < size of maps 4 x 6 in mode reflect for pad but received/,
        ),
        refused(
          { pad: [0, 7, 0, 0], mode: 'wrap' },
          /Expected pad <= size of maps 4 x 6 in mode wrap/,
        ),
        refused({ pad: [0, -1, 0, 0] }, /\[pad2d\] Expected four integers >= 0 for pad/),
      ],
    },
    ({ x }, { pad: [top, left, bottom, right], mode, value = 0 }) => {
      const [N, C, H, W] = sizes(x);
      const y = new Grid([N, C, H + top + bottom, W + left + right]);
      for (const [n, c, p, q] of y.cells()) {
        const [i, j] = [source(mode, p - top, H), source(mode, q - left, W)];
        const outside = Number.isNaN(i) || Number.isNaN(j);
        y.set(outside ? Math.fround(value) : x.at(n, c, i, j), n, c, p, q);
      }
      return { y };
    },
    [
      of([2, 5, 4, 6], { pad: [1, 2, 3, 0], value: 0.7 }),
      of([1, 17, 3, 3], { pad: [0, 0, 2, 1] }),
      of([2, 5, 4, 6], { pad: [3, 2, 1, 5], mode: 'reflect' }),
      of([2, 5, 4, 6], { pad: [3, 2, 9, 5], mode: 'edge' }),
      of([2, 5, 4, 6], { pad: [4, 2, 4, 6], mode: 'wrap' }),
      of([1, 33, 1, 1], { pad: [1, 1, 1, 1], mode: 'wrap' }),
      of([1, 3, 1, 2], { pad: [0, 1, 0, 1], mode: 'reflect' }),
      of([2, 40, 15, 14], { pad: [3, 3, 3, 3], mode: 'reflect' }, true),
    ],
  );
});
