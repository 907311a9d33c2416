import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { softmaxCrossEntropy } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { integers } from '../support/draw.js';
import { runGraph } from '../support/engine.js';
import { Grid, sizes } from '../support/grid.js';

function of(N: number, F: number, large = false): OpCase<'x' | 'labels', object> {
  return { shapes: { x: [N, F], labels: [N] }, attrs: {}, draw: { labels: integers(F) }, large };
}

describe('ops: softmax_cross_entropy', () => {
  checkOp<'x' | 'labels', object>(
    {
      name: 'softmax_cross_entropy',
      inputs: { x: {}, labels: { dtype: 'i32' } },
      wrt: ['x'],
      build: ({ x, labels }) => ({ ...softmaxCrossEntropy(x, labels) }),
      wrong: [
        {
          shapes: { labels: [4] },
          text: /\[softmax_cross_entropy\] Expected labels of shape .*N = 3, as x has/,
        },
        { shapes: { x: [3] }, text: /\[softmax_cross_entropy\] Expected x of shape \(N, F\)/ },
      ],
    },
    // loss = -mean_n log p[n, labels[n]], p = softmax(x)
    ({ x, labels }, _, f) => {
      const [N, F] = sizes(x);
      const probabilities = new Grid(x.shape);
      const loss = new Grid([]);
      let total = 0;
      for (let n = 0; n < N; n++) {
        let top = -Infinity;
        for (let k = 0; k < F; k++) top = Math.max(top, x.at(n, k));
        let sum = 0;
        for (let k = 0; k < F; k++) sum = f(sum + f(Math.exp(f(x.at(n, k) - top))));
        for (let k = 0; k < F; k++) {
          probabilities.set(f(f(Math.exp(f(x.at(n, k) - top))) / sum), n, k);
        }
        total = f(total + f(f(f(Math.log(sum)) + top) - x.at(n, labels.at(n))));
      }
      loss.set(f(total / N));
      return { loss, probabilities };
    },
    [
      of(3, 5),
      of(1, 2),
      of(7, 17),
      of(33, 1000, true),
      { ...of(2, 60), chw: { x: [5, 3, 4] } },
      { ...of(9, 294), chw: { x: [21, 2, 7] } },
    ],
  );

  it('a label that is no class gives NaN, not another class', async () => {
    const graph = new Graph();
    const { loss } = softmaxCrossEntropy(
      graph.input('x', [1, 3]),
      graph.input('labels', [1], { dtype: 'i32' }),
    );
    graph.output('loss', loss);
    for (const label of [-1, 3]) {
      const values = { x: Float32Array.of(1, 2, 3), labels: Int32Array.of(label) };
      expect((await runGraph(graph, values)).loss?.[0]).to.be.NaN;
    }
  });
});
