import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { add, flatten, relu, unflatten } from '../../lib/engine/ops/index.js';
import { checkOp } from '../support/check_op.js';
import { failure } from '../support/performer.js';

describe('ops: flatten', () => {
  checkOp<'x', object>(
    {
      name: 'flatten',
      inputs: { x: {} },
      wrt: ['x'],
      // the view of a computed value: its gradient passes through as maps
      build: ({ x }) => ({ y: flatten(add(x, x)) }),
    },
    ({ x }) => ({ y: x.map((value) => 2 * value) }),
    [
      { shapes: { x: [2, 5, 3, 4] }, attrs: {} },
      { shapes: { x: [3, 16, 1, 1] }, attrs: {} },
      { shapes: { x: [1, 33, 2, 2] }, attrs: {} },
    ],
  );

  it('remembers (C, H, W), leaves rows alone and comes back', () => {
    const graph = new Graph();
    const maps = graph.input('x', [2, 5, 3, 4]);
    const flat = flatten(maps);
    expect([flat.shape, flat.layout, flat.chw]).to.deep.equal([[2, 60], 'rows', [5, 3, 4]]);
    expect(flatten(flat)).to.equal(flat);
    const back = unflatten(flat);
    expect([back.shape, back.layout]).to.deep.equal([[2, 5, 3, 4], 'maps']);
  });

  it('refuses weights, plain rows as maps, and sums of differently flattened rows', async () => {
    const graph = new Graph();
    const w = graph.input('w', [2, 3, 1, 1], { layout: 'conv_weight' });
    await failure('E_SHAPE', /\[flatten\] Expected maps \(N, C, H, W\) for x/, () => flatten(w));
    const rows = graph.input('rows', [2, 60]);
    await failure('E_ARGUMENT', /\[unflatten\] Expected rows flattened from maps/, () =>
      unflatten(rows),
    );
    const flat = flatten(relu(graph.input('x', [2, 5, 3, 4])));
    await failure('E_SHAPE', /\[add\] Expected b of the shape of a/, () => add(flat, rows));
  });
});
