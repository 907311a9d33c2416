import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { conv2d, flatten, maxpool2d, relu, scale } from '../../lib/engine/ops/index.js';
import { elementsOf, encodeProgram, planPrograms } from '../../lib/engine/plan.js';
import { failure } from '../support/performer.js';
import { bytesOf, planned } from '../support/plan.js';

describe('plan: programs', () => {
  it('hold what the outputs and updates need, nothing else', () => {
    const graph = new Graph();
    const x = graph.input('x', [4]);
    graph.input('unused', [4]);
    relu(x);
    graph.output('y', scale(x, { factor: 2 }));
    const { program } = planned(graph);
    expect(program.ops.map(({ kernel }) => kernel)).to.deep.equal(['scale_forward']);
    expect([...program.inputs.keys()]).to.deep.equal(['x']);
  });

  it('leave out optional outputs that nobody reads', () => {
    const graph = new Graph();
    const x = graph.input('x', [1, 2, 4, 4]);
    graph.output('y', maxpool2d(x, { kernel: 2 }));
    const { program } = planned(graph);
    expect(program.ops[0]?.slots[2], 'index').to.equal(-1);
  });

  it('a view is another slot at the same place', () => {
    const graph = new Graph();
    const x = graph.input('x', [2, 3, 4, 5]);
    graph.output('rows', flatten(relu(x)));
    const { program } = planned(graph);
    const rows = program.slots[program.outputs.get('rows') ?? -1];
    const y = program.slots[program.ops[0]?.slots[1] ?? -1];
    expect(rows?.offset).to.equal(y?.offset);
    expect(rows).to.deep.include({ shape: [2, 60], layout: 'rows', chw: [3, 4, 5] });
    expect(rows && elementsOf(rows)).to.equal(120);
  });

  it('of one session share parameters and states, and reuse each other’s memory', () => {
    const make = (batch: number): Graph => {
      const graph = new Graph();
      const w = graph.parameter('w', [8, 4, 3, 3], { layout: 'conv_weight' });
      graph.output('y', relu(conv2d(graph.input('x', [batch, 4, 9, 9]), w, undefined)));
      return graph;
    };
    const graphs = { train: make(8), evaluate: make(2) };
    const plan = planPrograms(new Map(Object.entries(graphs)), bytesOf);
    const [a, b] = [...plan.programs.values()].map(({ persistent, slots }) => {
      return slots[persistent.get('w')?.slot ?? -1];
    });
    expect(a?.offset).to.equal(b?.offset);
    const alone = planPrograms(new Map([['train', graphs.train]]), bytesOf);
    expect(plan.arenaBytes).to.equal(alone.arenaBytes);
    expect(plan.persistentBytes).to.equal(8 * 4 * 9 * 4);
  });

  it('one name with two shapes is E_SHAPE', async () => {
    const make = (size: number): Graph => {
      const graph = new Graph();
      graph.output('y', relu(graph.parameter('w', [size])));
      return graph;
    };
    const graphs = new Map([
      ['a', make(3)],
      ['b', make(4)],
    ]);
    await failure('E_SHAPE', /one shape for parameter w .* rows \(3\) and f32 rows \(4\)/, () =>
      planPrograms(graphs, bytesOf),
    );
  });

  it('are encoded as one list of words', () => {
    const graph = new Graph();
    const x = graph.input('x', [2, 6], { chw: [3, 1, 2] });
    graph.output('y', scale(x, { factor: 0.5 }));
    const { program } = planned(graph);
    const half = new Int32Array(Float32Array.of(0.5).buffer)[0];
    expect([...encodeProgram(program, (name) => name.length)]).to.deep.equal(
      [
        [0x504c, 1, 2, 1],
        [0, 0, 2, 2, 6, 1, 1, 3, 1, 2, 0],
        [0, 0, 2, 2, 6, 1, 1, 3, 1, 2, 1],
        ['scale_forward'.length, 2, 0, 1, 2, half, 0],
      ].flat(),
    );
  });

  it('encode layouts, integers and absent tensors', () => {
    const graph = new Graph();
    const x = graph.input('x', [1, 2, 5, 5]);
    const w = graph.parameter('w', [3, 2, 3, 3], { layout: 'conv_weight' });
    graph.output('y', conv2d(x, w, undefined, { stride: 2, pad: [1, 0, 1, 0], relu: true }));
    const { program } = planned(graph);
    const words = [...encodeProgram(program, () => 7)];
    expect(words.slice(-21).join(' ')).to.equal('7 5 0 1 -1 -1 2 13 2 2 1 0 1 1 1 0 0 0 0 0 0');
    expect(program.slots.map((_, i) => words[4 + 11 * i + 1])).to.have.members([1, 2, 1]);
  });

  it('without ops is empty but whole', () => {
    const graph = new Graph();
    graph.output('x', graph.input('x', []));
    const { program, plan } = planned(graph);
    expect(program.ops).to.deep.equal([]);
    expect(plan.arenaBytes).to.equal(64);
  });
});
