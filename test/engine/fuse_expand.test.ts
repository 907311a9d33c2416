import { expect } from 'chai';
import { Graph, type Value } from '../../lib/engine/graph.js';
import {
  activation,
  add,
  clip,
  conv2d,
  depthwiseConv2d,
  globalAvgpool2d,
  relu,
} from '../../lib/engine/ops/index.js';
import type { Pad, Pair } from '../../lib/engine/ops/window.js';
import { schedule } from '../../lib/engine/plan.js';
import { sizeOf } from '../../lib/engine/tensor.js';
import { normal, seeded } from '../support/draw.js';
import { backends, runGraph, sameBits, type Arrays } from '../support/engine.js';

/** x (N, C, H, W), O expanded maps, a depthwise window R x S. */
interface Sizes {
  x: readonly [number, number, number, number];
  O: number;
  window: readonly [number, number];
  options?: { stride?: Pair; pad?: Pad; dilation?: Pair };
  bias?: boolean;
}

const SIZES: Record<string, Sizes> = {
  'one pixel': { x: [1, 1, 1, 1], O: 1, window: [1, 1], bias: false },
  'three by three': { x: [2, 5, 9, 10], O: 21, window: [3, 3], options: { pad: 1 } },
  'a stride': { x: [2, 18, 13, 12], O: 37, window: [3, 3], options: { pad: 1, stride: 2 } },
  'a stride that skips rows': { x: [1, 3, 14, 11], O: 5, window: [2, 2], options: { stride: 3 } },
  'uneven borders, dilation': {
    ...{ x: [1, 20, 12, 11], O: 40, window: [3, 2] },
    options: { pad: [5, 1, 4, 6], dilation: [3, 4], stride: [2, 1] },
  },
  'windows beside the map': { x: [1, 3, 3, 3], O: 18, window: [3, 3], options: { pad: 4 } },
  'many strips of rows': { x: [1, 33, 150, 60], O: 35, window: [5, 5], options: { pad: 2 } },
  'many channels': { x: [2, 600, 7, 7], O: 17, window: [3, 3], options: { pad: 1 } },
  'no bias': { x: [1, 16, 30, 47], O: 32, window: [3, 3], options: { pad: 1 }, bias: false },
};

const ENDS: Record<string, (x: Value) => Value> = {
  nothing: (x) => x,
  relu,
  clip: (x) => clip(x, { lo: -0.5, hi: 6 }),
  hard_swish: (x) => activation(x, 'hard_swish'),
};

/** The two convolutions and their ends; `apart`: the maps between are fetched. */
function build(
  { x, O, window: [R, S], options = {}, bias = true }: Sizes,
  ends: readonly [(x: Value) => Value, (x: Value) => Value],
  apart: boolean,
): Graph {
  const graph = new Graph();
  const values = (name: string): Value | undefined => (bias ? graph.input(name, [O]) : undefined);
  const layout = { layout: 'conv_weight' } as const;
  const wide = graph.input('w_expand', [O, x[1], 1, 1], layout);
  const maps = ends[0](conv2d(graph.input('x', x), wide, values('b_expand')));
  if (apart) graph.output('maps', maps);
  const w = graph.input('w', [O, 1, R, S], layout);
  graph.output('y', ends[1](depthwiseConv2d(maps, w, values('b'), options)));
  return graph;
}

function valuesOf(graph: Graph): Arrays {
  const inputs = graph.nodes.filter(({ kind }) => kind === 'input');
  return Object.fromEntries(
    inputs.map(({ name, outputs }) => {
      const shape = outputs[0]?.shape ?? [];
      const scale = name.startsWith('w') ? 2 / Math.sqrt(sizeOf(shape.slice(1))) : 2;
      const drawn = Array.from(normal(seeded(name), sizeOf(shape)));
      return [name, Float32Array.from(drawn, (value) => scale * value)];
    }),
  );
}

function kernels(graph: Graph): string[] {
  return schedule(graph).nodes.flatMap(({ op }) => (op ? [op.name] : []));
}

function largest(values: ArrayLike<number>): number {
  return Array.from(values).reduce((top, value) => Math.max(top, Math.abs(value)), 0);
}

interface Parts {
  graph: Graph;
  x: Value;
  wide: Value;
  w: Value;
}

describe('fusion: an expansion and its depthwise convolution', () => {
  for (const [name, sizes] of Object.entries(SIZES)) {
    for (const backend of backends()) {
      it(`${name}, on ${backend}: the numbers of the calls apart, one call`, async () => {
        for (const [first, f] of Object.entries(ENDS)) {
          for (const [second, g] of Object.entries(ENDS)) {
            const at = `${first}, ${second}`;
            const apart = build(sizes, [f, g], true);
            const joined = build(sizes, [f, g], false);
            expect(kernels(apart), at).to.not.include('expand_depthwise_forward');
            expect(kernels(joined), at).to.deep.equal(['expand_depthwise_forward']);
            const values = valuesOf(apart);
            const wanted = (await runGraph(apart, values, { backend }))['y'] ?? [];
            const runs = await Promise.all(
              [1, 2, 3].map((threads) => runGraph(joined, values, { backend, threads })),
            );
            const [found] = runs.map(({ y }) => y);
            for (const { y } of runs) expect(sameBits(y, found), at).to.equal(true);
            const off = Array.from(wanted, (value, i) => value - (found?.[i] ?? NaN));
            expect(largest(off), at).to.be.below(1e-6 * largest(wanted) + 1e-12);
          }
        }
      }).timeout(600_000);
    }
  }

  const APART: Record<string, (parts: Parts) => Value> = {
    'a residual before the depthwise convolution': ({ graph, x, wide, w }) =>
      depthwiseConv2d(
        add(conv2d(x, wide, undefined), graph.input('r', [1, 8, 6, 6])),
        w,
        undefined,
        { pad: 1 },
      ),
    'a residual behind it': ({ graph, x, wide, w }) =>
      add(
        depthwiseConv2d(conv2d(x, wide, undefined), w, undefined, { pad: 1 }),
        graph.input('r', [1, 8, 6, 6]),
      ),
    'a second reader of the maps': ({ graph, x, wide, w }) => {
      const maps = conv2d(x, wide, undefined);
      graph.output('sums', globalAvgpool2d(maps));
      return depthwiseConv2d(maps, w, undefined);
    },
    'a first window of more than a pixel': ({ graph, x, w }) => {
      const three = graph.input('w_three', [8, 4, 3, 3], { layout: 'conv_weight' });
      return depthwiseConv2d(conv2d(x, three, undefined, { pad: 1 }), w, undefined);
    },
    'a first stride': ({ x, wide, w }) =>
      depthwiseConv2d(conv2d(x, wide, undefined, { stride: 2 }), w, undefined, { pad: 1 }),
    'a first border': ({ x, wide, w }) =>
      depthwiseConv2d(conv2d(x, wide, undefined, { pad: 1 }), w, undefined),
    'a border on one side alone': ({ x, wide, w }) =>
      depthwiseConv2d(conv2d(x, wide, undefined, { pad: [0, 0, 1, 0] }), w, undefined),
  };
  for (const [name, make] of Object.entries(APART)) {
    it(`${name}: two calls`, () => {
      const graph = new Graph();
      const layout = { layout: 'conv_weight' } as const;
      const wide = graph.input('w_expand', [8, 4, 1, 1], layout);
      const w = graph.input('w', [8, 1, 3, 3], layout);
      graph.output('y', make({ graph, x: graph.input('x', [1, 4, 6, 6]), wide, w }));
      expect(kernels(graph)).to.include.members(['conv2d_forward', 'depthwise_conv2d_forward']);
    });
  }
});
