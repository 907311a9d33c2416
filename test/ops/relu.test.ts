import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { relu, reluBackward } from '../../lib/engine/ops/index.js';
import { checkOp } from '../support/check_op.js';
import { distinct } from '../support/draw.js';
import { runGraph } from '../support/engine.js';
import { failure } from '../support/performer.js';

describe('ops: relu', () => {
  checkOp<'x', object>(
    {
      name: 'relu',
      inputs: { x: { draw: distinct() } },
      wrt: ['x'],
      build: ({ x }) => ({ y: relu(x) }),
    },
    ({ x }) => ({ y: x.map((value) => Math.max(value, 0)) }),
    [
      { shapes: { x: [2, 5, 3, 4] }, attrs: {} },
      { shapes: { x: [] }, attrs: {} },
      { shapes: { x: [37] }, attrs: {} },
      { shapes: { x: [3, 17] }, attrs: {} },
      { shapes: { x: [2, 60] }, chw: { x: [20, 1, 3] }, attrs: {} },
      { shapes: { x: [4, 48, 20, 21] }, attrs: {}, large: true, samples: 20 },
    ],
  );

  it('passes NaN on and has no gradient at 0', async () => {
    const graph = new Graph();
    const x = graph.input('x', [4]);
    graph.output('y', relu(x));
    graph.output('dx', reluBackward(graph.input('g', [4]), x));
    const { y, dx } = await runGraph(graph, {
      x: Float32Array.of(NaN, -1, 0, 2),
      g: Float32Array.of(1, 1, 1, 1),
    });
    expect([...(y ?? [])]).to.deep.equal([NaN, 0, 0, 2]);
    expect([...(dx ?? [])]).to.deep.equal([0, 0, 0, 1]);
  });

  it('refuses gradients of another shape', async () => {
    const graph = new Graph();
    await failure('E_SHAPE', /\[relu_backward\] Expected y of the shape of g, \(2, 3\)/, () =>
      reluBackward(graph.input('g', [2, 3]), graph.input('y', [2, 4])),
    );
  });
});
