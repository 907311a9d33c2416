import { expect } from 'chai';
import { gradient } from '../../lib/engine/grad.js';
import { Graph } from '../../lib/engine/graph.js';
import { imageNorm } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { runGraph } from '../support/engine.js';
import { Grid, sizes } from '../support/grid.js';

interface Attrs {
  target: number;
}

function of(
  x: [number, number, number, number],
  target: number,
  rest: Partial<OpCase<'x', Attrs>> = {},
): OpCase<'x', Attrs> {
  return { shapes: { x }, attrs: { target }, ...rest };
}

describe('ops: image_norm', () => {
  const refused = (target: number) =>
    ({
      shapes: {},
      attrs: { target },
      text: /\[image_norm\] Expected a number > 0 for target/,
      code: 'E_ARGUMENT',
    }) as const;
  checkOp<'x', Attrs>(
    {
      name: 'image_norm',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }, attrs) => ({ y: imageNorm(x, attrs) }),
      wrong: [
        { shapes: { x: [2, 6] }, text: /\[image_norm\] Expected x of shape \(N, C, H, W\)/ },
        refused(0),
        refused(Infinity),
      ],
    },
    // y = x target / rms, rms over the image
    ({ x }, { target }, f) => {
      const [N, C, H, W] = sizes(x);
      const squares = new Grid([N]);
      for (const [n, ...at] of x.cells()) {
        squares.set(f(squares.at(n) + f(x.at(n, ...at) ** 2)), n);
      }
      const y = new Grid(x.shape);
      for (const [n, ...at] of x.cells()) {
        const rms = f(Math.sqrt(f(squares.at(n) / (C * H * W))));
        y.set(f(x.at(n, ...at) * f(Math.fround(target) / rms)), n, ...at);
      }
      return { y };
    },
    [
      of([2, 6, 3, 4], 2.5),
      of([1, 33, 2, 3], 1),
      of([3, 16, 5, 2], 0.1),
      of([3, 2, 1, 1], 2),
      of([3, 40, 14, 14], 2.5, { large: true, samples: 10 }),
    ],
  );

  it('squares need not be float32 numbers; an image of one value has no gradient', async () => {
    const graph = new Graph();
    const x = graph.input('x', [3, 1, 1, 2]);
    const y = imageNorm(x, { target: 2 });
    const [dx] = gradient([{ of: y, gradient: graph.input('g', [3, 1, 1, 2]) }], [x]);
    if (!dx) throw new Error('no gradient');
    graph.output('y', y);
    graph.output('dx', dx);
    const g = Float32Array.of(1, 0, 1e10, 0, 5, 5);
    const got = await runGraph(graph, { x: Float32Array.of(1e25, 1e25, 0, 3e-9, 7, 7), g });
    const near = (values: ArrayLike<number> | undefined, want: number[]): void => {
      want.forEach((value, i) => {
        expect(values?.[i]).to.be.closeTo(value, 1e-6 * Math.abs(value) + 1e-30);
      });
    };
    near(got.y, [2, 2, 0, 2 * Math.SQRT2, 2, 2]);
    // f (g - x sum(g x) / sum(x^2)), f = target / rms
    const f = 2 / (3e-9 / Math.SQRT2);
    near(got.dx?.subarray(0, 4), [1e-25, -1e-25, f * 1e10, 0]);
    expect(Math.abs(got.dx?.[4] ?? NaN)).to.be.below(1e-6);
  });

  it('an image of zeros stays so', async () => {
    const graph = new Graph();
    graph.output('y', imageNorm(graph.input('x', [2, 1, 1, 2]), { target: 3 }));
    const { y } = await runGraph(graph, { x: Float32Array.of(0, 0, 2, 2) });
    expect([...(y ?? [])]).to.deep.equal([0, 0, 3, 3]);
  });
});
