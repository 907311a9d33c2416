import { sliceMaps, type SliceMapsOptions, type Stretch } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { Grid, sizes } from '../support/grid.js';

function of(
  x: [number, number, number, number],
  attrs: SliceMapsOptions,
  large = false,
): OpCase<'x', SliceMapsOptions> {
  return { shapes: { x }, attrs, large };
}
const stretch = (first: number, count: number, step = 1): Stretch => ({ first, step, count });

describe('ops: slice_maps', () => {
  const outside = (attrs: SliceMapsOptions, text: RegExp) =>
    ({ shapes: {}, attrs, text, code: 'E_ARGUMENT' }) as const;
  checkOp<'x', SliceMapsOptions>(
    {
      name: 'slice_maps',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ y: sliceMaps(x, attrs) }),
      wrong: [
        { shapes: { x: [2, 5] }, text: /\[slice_maps\] Expected maps \(N, C, H, W\)/ },
        outside({ channels: stretch(0, 6) }, /places from 0 to 4 for channels but received/),
        outside({ rows: stretch(1, 2, -2) }, /\[slice_maps\] Expected .* for rows/),
        outside({ columns: stretch(-1, 2) }, /\[slice_maps\] Expected .* for columns/),
        outside({ columns: stretch(0, 0) }, /\[slice_maps\] Expected .* for columns/),
        outside({ rows: stretch(0, 1, 0) }, /\[slice_maps\] Expected .* for rows/),
        outside({ rows: stretch(0, 2, 0.5) }, /\[slice_maps\] Expected .* for rows/),
      ],
    },
    ({ x }, { channels, rows, columns }) => {
      const [N, C, H, W] = sizes(x);
      const [a, p, q] = [
        channels ?? stretch(0, C),
        rows ?? stretch(0, H),
        columns ?? stretch(0, W),
      ];
      const at = ({ first, step = 1 }: Stretch, i: number): number => first + i * step;
      const y = new Grid([N, a.count, p.count, q.count]);
      for (const [n, c, i, j] of y.cells())
        y.set(x.at(n, at(a, c), at(p, i), at(q, j)), n, c, i, j);
      return { y };
    },
    [
      of([2, 5, 4, 6], { rows: stretch(1, 2), columns: stretch(5, 3, -2) }),
      of([2, 5, 4, 6], {}),
      of([2, 40, 3, 4], { channels: stretch(16, 24) }), // whole blocks
      of([2, 40, 3, 4], { channels: stretch(16, 19) }), // lanes beyond the slice are not copied
      of([2, 40, 3, 4], { channels: stretch(16, 16), columns: stretch(3, 2, -2) }),
      of([1, 37, 3, 4], { channels: stretch(35, 18, -2) }),
      of([1, 37, 5, 4], { channels: stretch(7, 21), rows: stretch(4, 5, -1) }),
      of([1, 3, 1, 1], { channels: stretch(2, 1, 7) }),
      of([2, 96, 28, 28], { channels: stretch(32, 64) }, true),
    ],
  );
});
