import { groupNorm } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import type { Draw } from '../support/draw.js';
import { Grid, sizes } from '../support/grid.js';

interface Attrs {
  groups: number;
  epsilon: number;
}

function of(
  x: [number, number, number, number],
  groups: number,
  rest: Partial<OpCase<'x', Attrs>> = {},
): OpCase<'x', Attrs> {
  return { shapes: { x }, attrs: { groups, epsilon: 1e-5 }, ...rest };
}
/** A mean that swallows the digits of a sum of squares. */
const far: Draw = (random, count) => Array.from({ length: count }, () => 3000 + random.normal());

describe('ops: group_norm', () => {
  const refused = (groups: number, epsilon: number, text: RegExp) =>
    ({ shapes: {}, attrs: { groups, epsilon }, text, code: 'E_ARGUMENT' }) as const;
  checkOp<'x', Attrs>(
    {
      name: 'group_norm',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ y: groupNorm(x, attrs) }),
      wrong: [
        { shapes: { x: [2, 6] }, text: /\[group_norm\] Expected x of shape \(N, C, H, W\)/ },
        refused(4, 1e-5, /\[group_norm\] Expected an integer that divides C = 6 for groups/),
        refused(0, 1e-5, /\[group_norm\] Expected an integer that divides C = 6 for groups/),
        refused(2, -1, /\[group_norm\] Expected a number > 0 for epsilon/),
      ],
    },
    // y = (x - mean) / sqrt(var + epsilon), over the channels and cells of a group
    ({ x }, { groups, epsilon }, f) => {
      const [, C, H, W] = sizes(x);
      const [width, count] = [C / groups, (C / groups) * H * W];
      const y = new Grid(x.shape);
      const of = ([n, c]: readonly number[]): number =>
        (n ?? 0) * groups + Math.floor((c ?? 0) / width);
      const mean = new Map<number, number>();
      const variance = new Map<number, number>();
      const shifted = (at: readonly [number, number, number, number]): number =>
        f(x.at(...at) - f((mean.get(of(at)) ?? 0) / count));
      for (const at of x.cells()) mean.set(of(at), f((mean.get(of(at)) ?? 0) + x.at(...at)));
      for (const at of x.cells()) {
        variance.set(of(at), f((variance.get(of(at)) ?? 0) + f(shifted(at) ** 2)));
      }
      for (const at of x.cells()) {
        const base = f(f((variance.get(of(at)) ?? 0) / count) + Math.fround(epsilon));
        y.set(f(shifted(at) / f(Math.sqrt(base))), ...at);
      }
      return { y };
    },
    [
      of([2, 6, 3, 4], 3),
      of([2, 6, 3, 4], 6),
      of([1, 33, 2, 3], 11), // groups across blocks
      of([1, 33, 2, 3], 1, { attrs: { groups: 1, epsilon: 0.5 } }),
      of([2, 32, 3, 2], 2),
      of([3, 2, 1, 1], 1),
      of([2, 6, 5, 4], 2, { draw: { x: far }, samples: 0 }),
      of([2, 96, 7, 9], 32, { large: true }),
    ],
  );
});
