import { expect } from 'chai';
import { loadBinding } from '../../lib/engine/binding.js';
import { buildTrainingGraph } from '../../lib/explainer/loss.js';
import { trainOptions } from '../../lib/explainer/options.js';
import { Graph, type Value } from '../../lib/engine/graph.js';
import type { ValueType } from '../../lib/engine/tensor.js';
import {
  add,
  adamStep,
  mean,
  normLayer,
  relu,
  scale,
  sgdStep,
} from '../../lib/engine/ops/index.js';
import { planPrograms, schedule, type Program } from '../../lib/engine/plan.js';
import { sizeOf } from '../../lib/engine/tensor.js';
import { runGraph, sameBits, type Arrays } from '../support/engine.js';
import { failure } from '../support/performer.js';
import { planned } from '../support/plan.js';
import { normal, seeded } from '../support/draw.js';

const cpuBytes = (type: ValueType): number => loadBinding().bytesOf('cpu', type);

/** A real training step: explainer of 8 filters, both optimizers' order of ops. */
function trainingGraph(): Graph {
  const spec = {
    channels: 6,
    height: 8,
    width: 8,
    filters: 8,
    pool: { kernel: 2 },
    site: undefined,
    targets: [
      { name: 'fc6', shape: [24], size: 24, relu: true },
      { name: 'fc7', shape: [12], size: 12, relu: false },
    ],
    featureScale: 0.5,
  };
  return buildTrainingGraph(spec, trainOptions.parse({}), { batch: 4, targetPower: [1, 1] }).graph;
}

/** A value of a program: the bytes it must hold from the op that writes it to the last that reads. */
interface Life {
  name: string;
  begin: number;
  end: number;
  first: number;
  last: number;
  /** The value that this one may overwrite. */
  updates: Life | undefined;
}

/** Lifetimes by brute force: walks the ops once and notes who is written and read when. */
function lives(graph: Graph, program: Program): Life[] {
  const found = new Map<Value, Life>();
  const newest = new Map<Value, Life>();
  const write = (value: Value, slot: number, at: number, updates?: Life): void => {
    const { offset, bytes } = program.slots[slot] ?? { offset: NaN, bytes: NaN };
    const name = `${value.node.name} ${String(value.id)}`;
    const place = updates ?? { begin: offset, end: offset + bytes };
    found.set(value, { name, begin: place.begin, end: place.end, first: at, last: at, updates });
  };
  const life = (value: Value): Life => {
    const source = value.node.kind === 'view' ? value.node.inputs[0] : undefined;
    const known = source ? life(source) : found.get(value);
    if (!known) throw new Error(`${value.node.name} is read before it is written`);
    return known;
  };
  const leaves = [...program.inputs, ...[...program.persistent].map(([n, { slot }]) => [n, slot])];
  for (const [name, slot] of leaves as [string, number][]) {
    const leaf = graph.leaf(name);
    if (leaf) write(leaf, slot, -1);
  }
  const { nodes, groups } = schedule(graph);
  const flat = new Map(groups.flatMap(({ members }) => members.map((node) => [node, members[0]])));
  let at = -1;
  nodes.forEach((node) => {
    if (node.kind !== 'op') return;
    if ((flat.get(node) ?? node) === node) at++; // a group of steps is one call
    const slots = program.ops[at]?.slots ?? [];
    for (const input of node.inputs) if (input) life(input).last = at;
    const inputNames = Object.keys(node.op?.inputs ?? {});
    Object.keys(node.op?.outputs ?? {}).forEach((output, i) => {
      const [value, slot] = [node.outputs[i], slots[inputNames.length + i] ?? -1];
      if (!value || slot < 0) return;
      const updated = output.endsWith('_out')
        ? node.inputs[inputNames.indexOf(output.slice(0, -4))]
        : undefined;
      write(value, slot, at, updated && life(updated));
      if (updated) newest.set(updated, life(value));
    });
  });
  const end = program.ops.length;
  for (const value of graph.outputs.values()) life(value).last = end;
  for (const name of program.persistent.keys()) {
    let leaf = graph.leaf(name);
    while (leaf) {
      const next = newest.get(leaf);
      if (!next) life(leaf).last = end;
      leaf = [...found].find(([, other]) => other === next)?.[0];
    }
  }
  return [...found.values()];
}

/** Pairs of values that are alive at one time and share bytes. */
function collisions(all: readonly Life[]): string[] {
  return all.flatMap((a, i) =>
    all.slice(i + 1).flatMap((b) => {
      const apart = a.end <= b.begin || b.end <= a.begin || a.last < b.first || b.last < a.first;
      const same = a.begin === b.begin && a.end === b.end;
      const update =
        same &&
        ((b.updates === a && a.last === b.first) || (a.updates === b && b.last === a.first));
      return apart || update ? [] : [`${a.name} and ${b.name}`];
    }),
  );
}

describe('plan: memory', () => {
  it('a long chain lives in two buffers, a longer one in no more', () => {
    const chain = (length: number): number => {
      const graph = new Graph();
      let x: Value = graph.input('x', [16, 16]);
      for (let i = 0; i < length; i++) x = scale(relu(x), { factor: i });
      graph.output('y', x);
      return planned(graph).plan.arenaBytes;
    };
    expect(chain(3)).to.equal(2 * 1024);
    expect(chain(100)).to.equal(2 * 1024);
  });

  it('two long chains one after the other share the memory', () => {
    const chain = (x: Value): Value => {
      let y = x;
      for (let i = 0; i < 20; i++) y = relu(scale(y, { factor: i }));
      return y;
    };
    const graph = new Graph();
    const a = mean(chain(graph.input('a', [64])));
    const b = mean(chain(graph.input('b', [64])));
    graph.output('sum', add(a, b));
    const { plan } = planned(graph);
    // inputs a and b, one buffer to alternate with, and two scalars
    expect(plan.arenaBytes).to.be.at.most(3 * 256 + 3 * 64);
  });

  it('outputs are kept to the end, inputs from the start', () => {
    const graph = new Graph();
    const x = graph.input('x', [16]);
    const late = graph.input('late', [16]);
    const early = scale(x, { factor: 1 });
    graph.output('early', early);
    let y = early;
    for (let i = 2; i < 9; i++) y = scale(y, { factor: i });
    graph.output('y', add(y, late));
    const { program } = planned(graph);
    expect(collisions(lives(graph, program))).to.deep.equal([]);
    const offsets = ['early', 'y'].map((name) => program.slots[program.outputs.get(name) ?? -1]);
    expect(offsets[0]?.offset).not.to.equal(offsets[1]?.offset);
  });

  it('offsets are multiples of 64 inside the arena', () => {
    const graph = new Graph();
    const x = graph.input('x', [3]);
    graph.output('y', add(scale(x, { factor: 2 }), graph.constant(1, [3])));
    const { plan, program } = planned(graph);
    for (const { offset, bytes } of program.slots) {
      expect(offset % 64).to.equal(0);
      expect(offset + bytes).to.be.at.most(plan.arenaBytes);
    }
  });

  it('no two live buffers of a training step overlap', () => {
    const graph = trainingGraph();
    const plan = planPrograms(new Map([['train', graph]]), cpuBytes);
    const program = plan.programs.get('train');
    if (!program) throw new Error('no program');
    expect(program.ops.length).to.be.above(45);
    const all = lives(graph, program);
    expect(collisions(all)).to.deep.equal([]);
    const sum = all.reduce((total, { begin, end }) => total + end - begin, 0);
    expect(plan.arenaBytes, 'memory is reused').to.be.below(sum / 2);
  });

  it('the check sees an overlap', () => {
    const graph = trainingGraph();
    const program = planPrograms(new Map([['train', graph]]), cpuBytes).programs.get('train');
    if (!program) throw new Error('no program');
    const { outputs, slots } = program;
    const [a, b] = ['p', 'rec_1'].map((name) => slots[outputs.get(name) ?? -1]);
    if (!a || !b) throw new Error('no outputs');
    a.offset = b.offset;
    expect(collisions(lives(graph, program))).to.have.lengthOf(1);
  });

  it('a training step computes the same where no memory is reused', async () => {
    const graph = trainingGraph();
    const values: Arrays = {};
    for (const node of graph.nodes) {
      const [value] = node.outputs;
      if (!value || node.inputs.length > 0 || node.kind === 'constant') continue;
      const drawn = normal(seeded(node.name), sizeOf(value.shape));
      values[node.name] = Float32Array.from(drawn, (x) => 0.1 * Math.abs(x));
    }
    const reused = await runGraph(graph, values);
    const kept = trainingGraph();
    for (const node of kept.nodes) {
      const [value] = node.outputs;
      if (node.kind === 'op' && value && !node.op?.updates) {
        kept.output(`keep ${String(node.id)}`, value);
      }
    }
    const apart = await runGraph(kept, values);
    const changed = Object.keys(reused).filter((name) => !sameBits(reused[name], apart[name]));
    expect(changed).to.deep.equal([]);
  });
});

describe('plan: updates', () => {
  it('live in the memory of what they update', () => {
    const graph = new Graph();
    const leaf = (name: string): Value => graph.parameter(name, [40]);
    const [w, m, v] = [leaf('w'), leaf('m'), leaf('v')];
    const grad = graph.input('grad', [40]);
    const hyper = graph.input('hyper', [3]);
    graph.update(adamStep({ w, grad, m, v, hyper }));
    const { program } = planned(graph);
    const [step] = program.ops;
    const offset = (i: number): number | undefined => program.slots[step?.slots[i] ?? -1]?.offset;
    expect(step?.slots).to.have.length(8);
    expect([offset(5), offset(6), offset(7)]).to.deep.equal([offset(0), offset(2), offset(3)]);
  });

  it('a running mean is updated in place, or not written at all', () => {
    const build = (keep: boolean): Program => {
      const graph = new Graph();
      const alpha = graph.state('alpha', [3], { fill: -1 });
      const x = graph.input('x', [2, 3, 4, 4]);
      graph.output('y', normLayer(x, alpha, { training: true, keep }));
      return planned(graph).program;
    };
    const kept = build(true);
    const [, alpha = -1, , , out = -1] = kept.ops[0]?.slots ?? [];
    expect(kept.slots[out]?.offset).to.equal(kept.slots[alpha]?.offset);
    expect(build(false).ops[0]?.slots[4]).to.equal(-1);
  });

  it('reading the old value after an update is refused', async () => {
    const graph = new Graph();
    const w = graph.parameter('w', [4]);
    const v = graph.state('v', [4]);
    const hyper = graph.input('hyper', [3]);
    graph.update(sgdStep({ w, grad: graph.input('grad', [4]), v, hyper }));
    graph.output('late', scale(w, { factor: 2 }));
    await failure('E_INTERNAL', /scale_forward reads w after sgd_step has overwritten it/, () =>
      planned(graph),
    );
  });

  it('reading the old value after an op that leaves it is not', () => {
    const graph = new Graph();
    const alpha = graph.state('alpha', [3], { fill: -1 });
    const x = graph.input('x', [2, 3, 4, 4]);
    graph.output('y', normLayer(x, alpha, { training: true, keep: false }));
    graph.output('z', normLayer(x, alpha, { training: false }));
    expect(planned(graph).program.ops).to.have.length(2);
  });

  it('reading the new value after an update is not', async () => {
    const graph = new Graph();
    const w = graph.parameter('w', [2]);
    const v = graph.state('v', [2]);
    const next = sgdStep({
      w,
      grad: graph.input('grad', [2]),
      v,
      hyper: graph.input('hyper', [3]),
    });
    graph.output('next', scale(next, { factor: 2 }));
    const got = await runGraph(graph, {
      w: Float32Array.of(1, 2),
      v: Float32Array.of(0, 0),
      grad: Float32Array.of(1, 1),
      hyper: Float32Array.of(0.5, 1, 1),
    });
    expect([...(got.next ?? [])]).to.deep.equal([1, 3]);
    expect([...(got.w ?? [])]).to.deep.equal([0.5, 1.5]);
  });
});
