import { expect } from 'chai';
import { Graph, type Value } from '../../lib/engine/graph.js';
import {
  activation,
  add,
  clip,
  conv2d,
  depthwiseConv2d,
  groupedConv2d,
  relu,
} from '../../lib/engine/ops/index.js';
import { schedule } from '../../lib/engine/plan.js';
import { sizeOf } from '../../lib/engine/tensor.js';
import { normal, seeded } from '../support/draw.js';
import { backends, runGraph, sameBits, type Arrays } from '../support/engine.js';

/** x (N, C, H, W), filters (O, C, R, R). */
interface Sizes {
  x: readonly [number, number, number, number];
  w: readonly [number, number, number, number];
}

const CONVOLUTIONS: Record<string, Sizes & { groups?: number }> = {
  'one by one, many blocks': { x: [2, 600, 7, 7], w: [37, 600, 1, 1] },
  'one by one, strips of a row': { x: [2, 20, 40, 41], w: [21, 20, 1, 1] },
  'a picture': { x: [1, 3, 20, 21], w: [33, 3, 3, 3] },
  'three by three, few channels': { x: [2, 5, 9, 8], w: [18, 5, 3, 3] },
  'three by three, by tiles': { x: [3, 32, 17, 18], w: [40, 32, 3, 3] },
  groups: { x: [2, 12, 9, 10], w: [18, 4, 3, 3], groups: 3 },
  depthwise: { x: [2, 21, 9, 10], w: [21, 1, 3, 3], groups: 21 },
};

const ENDS: Record<string, (x: Value) => Value> = {
  nothing: (x) => x,
  relu,
  clip: (x) => clip(x, { lo: -0.5, hi: 6 }),
  silu: (x) => activation(x, 'silu'),
  hard_swish: (x) => activation(x, 'hard_swish'),
  leaky_relu: (x) => activation(x, 'leaky_relu', { alpha: 0.3 }),
};

/** A convolution, a sum with another value, a function; `apart`: each fetched, so that none is joined. */
function build(
  { x, w, groups = 1 }: Sizes & { groups?: number },
  end: (x: Value) => Value,
  { residual, apart }: { residual: boolean; apart: boolean },
): Graph {
  const graph = new Graph();
  const maps = graph.input('x', x);
  const filters = graph.input('w', w, { layout: 'conv_weight' });
  const b = graph.input('b', [w[0]]);
  const pad = (w[2] - 1) / 2;
  const plain =
    groups === 1
      ? conv2d(maps, filters, b, { pad })
      : groups === x[1]
        ? depthwiseConv2d(maps, filters, b, { pad })
        : groupedConv2d(maps, filters, b, { pad, groups });
  const sum = residual ? add(graph.input('residual', plain.shape), plain) : plain;
  if (apart) graph.output('plain', plain);
  if (apart) graph.output('sum', sum);
  graph.output('y', end(sum));
  return graph;
}

function valuesOf(graph: Graph): Arrays {
  const inputs = graph.nodes.filter(({ kind }) => kind === 'input');
  return Object.fromEntries(
    inputs.map(({ name, outputs }) => {
      const shape = outputs[0]?.shape ?? [];
      const scale = name === 'w' ? 1 / Math.sqrt(sizeOf(shape.slice(1))) : 1;
      const drawn = Array.from(normal(seeded(name), sizeOf(shape)));
      return [name, Float32Array.from(drawn, (value) => 2 * scale * value)];
    }),
  );
}

function kernels(graph: Graph): string[] {
  return schedule(graph).nodes.flatMap(({ op }) => (op ? [op.name] : []));
}

function largest(values: ArrayLike<number>): number {
  return Array.from(values).reduce((top, value) => Math.max(top, Math.abs(value)), 0);
}

describe('fusion: the end of a convolution', () => {
  for (const [name, sizes] of Object.entries(CONVOLUTIONS)) {
    for (const backend of backends()) {
      it(`${name}, on ${backend}: the numbers of the calls apart, one call`, async () => {
        for (const [kind, end] of Object.entries(ENDS)) {
          for (const residual of [false, true]) {
            if (kind === 'nothing' && !residual) continue;
            const at = `${kind}${residual ? ' of a sum' : ''}`;
            const apart = build(sizes, end, { residual, apart: true });
            const values = valuesOf(apart);
            expect(kernels(apart).length, at).to.be.above(1);
            const wanted = (await runGraph(apart, values, { backend }))['y'] ?? [];
            const joined = build(sizes, end, { residual, apart: false });
            expect(kernels(joined), at).to.have.length(1);
            const runs = await Promise.all(
              [1, 2, 3].map((threads) => runGraph(joined, values, { backend, threads })),
            );
            const [found] = runs.map(({ y }) => y);
            for (const { y } of runs) expect(sameBits(y, found), at).to.equal(true);
            const top = largest(wanted);
            expect(top, at).to.be.above(0.1);
            const off = Array.from(wanted, (value, i) => value - (found?.[i] ?? NaN));
            expect(largest(off), at).to.be.below(1e-6 * top);
          }
        }
      });
    }
  }

  const sizes = CONVOLUTIONS['three by three, few channels'] ?? {
    x: [1, 1, 1, 1],
    w: [1, 1, 1, 1],
  };
  const STAY: Record<string, (x: Value) => Value> = {
    'a function that moves 0': (x) => activation(x, 'sigmoid'),
    'a range without 0': (x) => clip(x, { lo: 1, hi: 2 }),
    'a value with two readers': (x) => add(x, relu(x)),
    'a value that one sum reads twice': (x) => add(x, x),
  };
  for (const [what, end] of Object.entries(STAY)) {
    it(`${what} stays apart`, () => {
      const names = kernels(build(sizes, end, { residual: false, apart: false }));
      expect(names.length).to.be.above(1);
    });
  }

  it('a sum after the ReLU of a convolution stays apart', () => {
    const graph = new Graph();
    const w = graph.input('w', [4, 4, 1, 1], { layout: 'conv_weight' });
    const x = graph.input('x', [1, 4, 3, 3]);
    graph.output('y', add(conv2d(x, w, undefined, { relu: true }), x));
    expect(kernels(graph)).to.deep.equal(['conv2d_forward', 'add_forward']);
  });

  it('a mask after a function of a convolution finds its peaks itself', () => {
    const graph = new Graph();
    const w = graph.input('w', [4, 4, 1, 1], { layout: 'conv_weight' });
    const x = graph.input('x', [1, 4, 3, 3]);
    const end = clip(conv2d(x, w, undefined), { lo: 0, hi: 6 });
    graph.output('y', conv2d(end, w, undefined));
    const [first, second] = schedule(graph).nodes.flatMap(({ op, attrs }) => (op ? [attrs] : []));
    expect(first).to.include({ activation: 2, alpha: 0, beta: 6, round: 0, peaks: 0 });
    expect(second).to.include({ rounded: 0 });
  });
});
