import { expect } from 'chai';
import { PartlensError } from '../../lib/errors.js';
import { Graph } from '../../lib/engine/graph.js';
import { channelNorm } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import type { Draw } from '../support/draw.js';
import { Grid } from '../support/grid.js';

interface Attrs {
  epsilon: number;
}

function of(x: number[], rest: Partial<OpCase<'x', Attrs>> = {}): OpCase<'x', Attrs> {
  return { shapes: { x }, attrs: { epsilon: 1e-5 }, ...rest };
}
/** A mean that swallows the digits of a sum of squares. */
const far: Draw = (random, count) => Array.from({ length: count }, () => 3000 + random.normal());

describe('ops: channel_norm', () => {
  const refused = (epsilon: number) =>
    ({
      shapes: {},
      attrs: { epsilon },
      text: /\[channel_norm\] Expected a number > 0 for epsilon/,
      code: 'E_ARGUMENT',
    }) as const;
  checkOp<'x', Attrs>(
    {
      name: 'channel_norm',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ y: channelNorm(x, attrs) }),
      wrong: [refused(0), refused(NaN), refused(Infinity)],
    },
    // y = (x - mean) / sqrt(var + epsilon), over the channels
    ({ x }, { epsilon }, f) => {
      const last = x.shape.length === 4 ? 1 : x.shape.length - 1;
      const C = x.shape[last] ?? 1;
      const y = new Grid(x.shape);
      for (const first of x.cells()) {
        if (first[last] !== 0) continue;
        const places = Array.from({ length: C }, (_, c) => {
          const [n, k, i, j] = first;
          return last === 1 ? ([n, c, i, j] as const) : ([c, k, i, j] as const);
        });
        let mean = 0;
        for (const at of places) mean = f(mean + x.at(...at));
        mean = f(mean / C);
        let variance = 0;
        for (const at of places) variance = f(variance + f(f(x.at(...at) - mean) ** 2));
        const base = f(Math.sqrt(f(f(variance / C) + Math.fround(epsilon))));
        for (const at of places) y.set(f(f(x.at(...at) - mean) / base), ...at);
      }
      return { y };
    },
    [
      of([2, 5, 3, 4]),
      of([1, 16, 2, 3]),
      of([2, 37, 3, 1], { attrs: { epsilon: 0.5 } }),
      of([3, 2, 1, 1]),
      of([3, 33]),
      of([4, 16]),
      of([9]),
      of([2, 37, 3, 4], { draw: { x: far }, samples: 0 }),
      of([2, 96, 7, 9], { large: true }),
    ],
  );

  for (const [what, options] of Object.entries({
    'rows flattened from maps': { chw: [3, 2, 2] },
    linear_weight: { layout: 'linear_weight' },
  } as const)) {
    it(`${what} are refused`, () => {
      const x = new Graph().input('x', [2, 12], options);
      const text = `[channel_norm] Expected maps or plain rows for x but received "${what}"`;
      expect(() => channelNorm(x)).to.throw(PartlensError, text);
    });
  }
});
