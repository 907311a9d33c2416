import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { softmax } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { runGraph } from '../support/engine.js';
import { Grid, sizes } from '../support/grid.js';

function of(N: number, F: number, large = false): OpCase<'x', object> {
  return { shapes: { x: [N, F] }, attrs: {}, large };
}

describe('ops: softmax', () => {
  checkOp<'x', object>(
    {
      name: 'softmax',
      inputs: { x: {} },
      wrt: ['x'],
      build: ({ x }) => ({ y: softmax(x) }),
      wrong: [
        { shapes: { x: [5] }, text: /\[softmax\] Expected x of shape \(N, F\)/ },
        { shapes: { x: [2, 3, 1, 1] }, text: /\[softmax\] Expected x of shape \(N, F\)/ },
      ],
    },
    ({ x }, _, f) => {
      const [N, F] = sizes(x);
      const y = new Grid(x.shape);
      for (let n = 0; n < N; n++) {
        let top = -Infinity;
        for (let k = 0; k < F; k++) top = Math.max(top, x.at(n, k));
        let sum = 0;
        for (let k = 0; k < F; k++) sum = f(sum + f(Math.exp(f(x.at(n, k) - top))));
        for (let k = 0; k < F; k++) y.set(f(f(Math.exp(f(x.at(n, k) - top))) / sum), n, k);
      }
      return { y };
    },
    [
      of(3, 5),
      of(1, 1),
      of(2, 17),
      of(5, 1000, true),
      { ...of(2, 60), chw: { x: [5, 3, 4] } },
      { ...of(3, 294), chw: { x: [21, 2, 7] } },
    ],
  );

  it('stands large and infinite logits', async () => {
    const graph = new Graph();
    graph.output('y', softmax(graph.input('x', [2, 3])));
    const { y } = await runGraph(graph, { x: Float32Array.of(1e4, 1e4, -1e4, 0, -Infinity, 0) });
    expect([...(y ?? [])]).to.deep.equal([0.5, 0.5, 0, 0.5, 0, 0.5]);
  });
});
