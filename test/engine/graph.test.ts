import { expect } from 'chai';
import { defineOp, Graph, outputOf, registry } from '../../lib/engine/graph.js';
import { isOptional, parseSignature } from '../../lib/engine/signature.js';
import {
  adamStep,
  add,
  conv2d,
  flatten,
  linear,
  maxpool2d,
  relu,
  unflatten,
} from '../../lib/engine/ops/index.js';
import { failure } from '../support/performer.js';

describe('graph: leaves', () => {
  it('take their layout from the rank', () => {
    const graph = new Graph();
    expect(graph.input('maps', [2, 3, 4, 5]).layout).to.equal('maps');
    expect(graph.parameter('rows', [2, 3]).layout).to.equal('rows');
    expect(graph.state('scalar', []).layout).to.equal('rows');
    expect(graph.parameter('w', [4, 3, 1, 1], { layout: 'conv_weight' }).layout).to.equal(
      'conv_weight',
    );
  });

  it('are found by name and listed in order of creation', () => {
    const graph = new Graph();
    const b = graph.parameter('b', [3]);
    graph.input('x', [3]);
    graph.state('alpha', [3]);
    const a = graph.parameter('a', [3]);
    expect(graph.parameters()).to.deep.equal([b, a]);
    expect(graph.leaf('a')).to.equal(a);
    expect(graph.leaf('c')).to.equal(undefined);
  });

  it('have one name each', async () => {
    const graph = new Graph();
    const x = graph.input('x', [3]);
    await failure('E_ARGUMENT', /a new name for parameter but received "x"/, () =>
      graph.parameter('x', [3]),
    );
    graph.output('y', x);
    await failure('E_ARGUMENT', /a new name for output but received "y"/, () => {
      graph.output('y', x);
    });
  });

  it('refuse shapes that are none', async () => {
    const graph = new Graph();
    for (const shape of [[0], [-1, 2], [1.5], [NaN], [1, 1, 1, 1, 1], [2 ** 16, 2 ** 15]]) {
      await failure('E_SHAPE', /at most 4 positive integers for x but received \(/, () =>
        graph.input('x', shape),
      );
    }
  });

  it('refuse shapes that do not fit the layout or the flattened sizes', async () => {
    const graph = new Graph();
    await failure('E_SHAPE', /fits conv_weight for w but received \(3, 4\)/, () =>
      graph.parameter('w', [3, 4], { layout: 'conv_weight' }),
    );
    await failure('E_SHAPE', /fits rows for x but received \(2, 3, 4\)/, () =>
      graph.input('x', [2, 3, 4]),
    );
    await failure('E_SHAPE', /11 = C \* H \* W for chw of x but received \(3, 2, 2\)/, () =>
      graph.input('x', [2, 11], { chw: [3, 2, 2] }),
    );
  });

  it('constants of one value and shape are one node', () => {
    const graph = new Graph();
    expect(graph.constant(1)).to.equal(graph.constant(1));
    expect(graph.constant(1)).not.to.equal(graph.constant(2));
    expect(graph.constant(1)).not.to.equal(graph.constant(1, [3]));
  });
});

describe('graph: ops', () => {
  it('equal nodes are computed once', () => {
    const graph = new Graph();
    const a = graph.input('a', [2, 3]);
    const b = graph.input('b', [2, 3]);
    expect(add(a, b)).to.equal(add(a, b));
    expect(add(a, b)).not.to.equal(add(b, a));
    const x = graph.input('x', [1, 2, 4, 4]);
    expect(maxpool2d(x, { kernel: 2 })).to.equal(maxpool2d(x, { kernel: 2, stride: 2 }));
    expect(maxpool2d(x, { kernel: 2 })).not.to.equal(maxpool2d(x, { kernel: 2, stride: 1 }));
    expect(flatten(x)).to.equal(flatten(x));
  });

  it('nodes that update memory are never shared', () => {
    const graph = new Graph();
    const [w, m, v] = ['w', 'm', 'v'].map((name) => graph.parameter(name, [4]));
    const grad = graph.input('grad', [4]);
    const hyper = graph.input('hyper', [3]);
    if (!w || !m || !v) throw new Error('no leaves');
    const inputs = { w, grad, m, v, hyper };
    expect(adamStep(inputs)).not.to.equal(adamStep(inputs));
  });

  it('node ids are a topological order', () => {
    const graph = new Graph();
    const x = graph.input('x', [1, 2, 3, 3]);
    const w = graph.parameter('w', [4, 2, 3, 3], { layout: 'conv_weight' });
    relu(add(conv2d(x, w, undefined, { pad: 1 }), conv2d(x, w, undefined, { pad: 1, relu: true })));
    graph.nodes.forEach((node, i) => {
      expect(node.id).to.equal(i);
      for (const input of node.inputs) if (input) expect(input.node.id).to.be.below(i);
    });
  });

  it('a flattened axis keeps its sizes and fits only its own weight', async () => {
    const graph = new Graph();
    const x = graph.input('x', [2, 3, 4, 5]);
    const rows = flatten(x);
    expect(rows).to.include({ layout: 'rows' });
    expect(rows.shape).to.deep.equal([2, 60]);
    expect(rows.chw).to.deep.equal([3, 4, 5]);
    expect(unflatten(rows).shape).to.deep.equal([2, 3, 4, 5]);
    const plain = graph.parameter('plain', [7, 60], { layout: 'linear_weight' });
    await failure(
      'E_SHAPE',
      /\[linear\] Expected w of shape .*F = 60 flattened from \(3, 4, 5\), as x has/,
      () => linear(rows, plain, undefined),
    );
    const fits = graph.parameter('fits', [7, 60], { layout: 'linear_weight', chw: [3, 4, 5] });
    expect(linear(rows, fits, undefined).shape).to.deep.equal([2, 7]);
  });

  it('flatten and unflatten refuse what they cannot view', async () => {
    const graph = new Graph();
    const rows = graph.input('rows', [2, 6]);
    expect(flatten(rows)).to.equal(rows);
    const w = graph.parameter('w', [2, 3, 1, 1], { layout: 'conv_weight' });
    await failure('E_SHAPE', /\[flatten\] Expected maps .* but received "conv_weight"/, () =>
      flatten(w),
    );
    await failure('E_ARGUMENT', /\[unflatten\] Expected rows flattened from maps/, () =>
      unflatten(rows),
    );
  });

  it('a wrong dtype is E_DTYPE', async () => {
    const graph = new Graph();
    const labels = graph.input('labels', [3], { dtype: 'i32' });
    const x = graph.input('x', [3]);
    await failure('E_DTYPE', /\[add\] Expected dtype f32 for b but received "i32"/, () =>
      add(x, labels),
    );
    const maps = graph.input('maps', [1, 2, 3, 3], { dtype: 'i32' });
    await failure('E_DTYPE', /\[maxpool2d\] Expected dtype f32 for x/, () =>
      maxpool2d(maps, { kernel: 2 }),
    );
  });

  it('a missing input is named', async () => {
    const graph = new Graph();
    const a = graph.input('a', [3]);
    await failure('E_ARGUMENT', /Expected a value like a for b but received undefined/, () =>
      add(a, undefined as never),
    );
  });

  it('an output that a node does not have is an internal error', async () => {
    const graph = new Graph();
    const { node } = graph.input('x', [1]);
    await failure('E_INTERNAL', /x has no output 1/, () => outputOf(node, 1));
  });
});

describe('graph: signatures', () => {
  it('are dtype, layout, option and letters', () => {
    expect(parseSignature('i32 rows? N F')).to.deep.equal({
      dtype: 'i32',
      layout: 'rows',
      optional: true,
      letters: ['N', 'F'],
    });
    expect(parseSignature('rows').letters).to.deep.equal([]);
    expect(isOptional('maps? N C H W')).to.equal(true);
    expect(isOptional('maps N C H W')).to.equal(false);
  });

  it('letters bind sizes across inputs, digits are sizes, derive gives the rest', async () => {
    const double = defineOp('test_double', {
      inputs: { x: 'rows N F', b: 'rows? F', three: 'rows 3' },
      outputs: { y: 'rows N G' },
      attrs: { less: 'i32' },
      derive: ({ F = 0 }, { less = 0 }) => ({ G: 2 * F - less }),
    });
    registry.delete('test_double');
    const graph = new Graph();
    const x = graph.input('x', [2, 5]);
    const three = graph.input('three', [3]);
    expect(double({ x, b: undefined, three }, { less: 1 }).y.shape).to.deep.equal([2, 9]);
    await failure(
      'E_SHAPE',
      /\[test_double\] Expected b .* with F = 5, as x has, but .*\(3\)/,
      () => double({ x, b: three, three }, { less: 0 }),
    );
    await failure('E_SHAPE', /Expected three of shape \(3\) with 3 = 3, as its signature has/, () =>
      double({ x, b: undefined, three: graph.input('four', [4]) }, { less: 0 }),
    );
    await failure('E_SHAPE', /inputs that give G >= 1 .*x \(2, 5\).*: G = 0/, () =>
      double({ x, b: undefined, three }, { less: 10 }),
    );
  });
});
