import { expect } from 'chai';
import { Graph, type Value } from '../../lib/engine/graph.js';
import { add, conv2d, relu, type Conv2dOptions } from '../../lib/engine/ops/index.js';
import { planPrograms } from '../../lib/engine/plan.js';
import { sizeOf, type Shape } from '../../lib/engine/tensor.js';
import { normal, seeded } from '../support/draw.js';
import { runGraph, sameBits, type Arrays } from '../support/engine.js';

const WINDOW = { layout: 'conv_weight' } as const;

type Maps = readonly [number, number, number, number];

interface Parts {
  graph: Graph;
  x: Value;
  w: Value;
}

/** How the input lies in memory where `make` reads it. */
function layoutOf(channels: number, make: (parts: Parts) => Value, on = true): string | undefined {
  const graph = new Graph();
  const x = graph.input('x', [2, channels, 6, 6]);
  const w = graph.input('w', [channels, channels, 3, 3], WINDOW);
  graph.output('y', make({ graph, x, w }));
  const plan = planPrograms(new Map([['main', graph]]), ({ shape }) => 4 * sizeOf(shape), {
    pictures: on,
  });
  const program = plan.programs.get('main');
  return program?.slots[program.inputs.get('x') ?? -1]?.layout;
}

const same: Conv2dOptions = { pad: 1 };

describe('plan: pictures', () => {
  const TAKEN: Record<string, (parts: Parts) => Value> = {
    'one convolution': ({ x, w }) => conv2d(x, w, undefined, same),
    'two of them': ({ x, w }) => add(conv2d(x, w, undefined, same), conv2d(x, w, undefined, same)),
  };
  for (const [name, make] of Object.entries(TAKEN)) {
    it(`${name} of up to 8 channels: as it comes`, () => {
      for (const channels of [1, 3, 8]) expect(layoutOf(channels, make)).to.equal('picture');
      expect(layoutOf(9, make)).to.equal('maps');
    });
  }

  const LEFT: Record<string, (parts: Parts) => Value> = {
    'a reader that is no convolution': ({ graph, x, w }) => {
      graph.output('relu', relu(x));
      return conv2d(x, w, undefined, same);
    },
    'a sum with the input': ({ x, w }) => add(conv2d(x, w, undefined, same), x),
    'an output that is the input': ({ graph, x, w }) => {
      graph.output('x', x);
      return conv2d(x, w, undefined, same);
    },
    'a window with gaps': ({ x, w }) => conv2d(x, w, undefined, { dilation: 2 }),
  };
  for (const [name, make] of Object.entries(LEFT)) {
    it(`${name}: blocks of channels`, () => {
      expect(layoutOf(3, make)).to.equal('maps');
    });
  }

  it('are left to backends that know them', () => {
    expect(layoutOf(3, ({ x, w }) => conv2d(x, w, undefined, same), false)).to.equal('maps');
  });
});

const CASES: Record<string, { x: Maps; w: Maps; options?: Conv2dOptions }> = {
  'one cell': { x: [1, 1, 1, 1], w: [1, 1, 1, 1] },
  'colours, a stride': { x: [3, 3, 23, 18], w: [20, 3, 3, 3], options: { stride: 2, pad: 1 } },
  'grey, uneven borders': { x: [2, 1, 9, 14], w: [5, 1, 5, 3], options: { pad: [3, 0, 1, 2] } },
  'four channels, no border': { x: [2, 4, 12, 11], w: [40, 4, 4, 4], options: { stride: 4 } },
  'eight channels, pixel by pixel': { x: [2, 8, 7, 9], w: [24, 8, 1, 1] },
  'rows with gaps': { x: [1, 3, 20, 9], w: [8, 3, 3, 3], options: { dilation: [3, 1], pad: 2 } },
  'windows beside the map': { x: [1, 3, 2, 2], w: [17, 3, 3, 3], options: { pad: 4 } },
  'more than one round': { x: [9, 8, 352, 352], w: [4, 8, 2, 2], options: { stride: 4 } },
};

function drawn(name: string, shape: Shape): Float32Array {
  const few = normal(seeded(name), Math.min(sizeOf(shape), 9973));
  return Float32Array.from({ length: sizeOf(shape) }, (_, i) => few[i % few.length] ?? 0);
}

describe('pictures on the CPU', () => {
  for (const [name, { x, w, options = {} }] of Object.entries(CASES)) {
    it(`${name}: the bits of blocks of channels`, async () => {
      const values: Arrays = { x: drawn('x', x), w: drawn('w', w), b: drawn('b', [w[0]]) };
      const run = (blocks: boolean, threads: number): Promise<Arrays> => {
        const graph = new Graph();
        const image = graph.input('x', x);
        const bias = graph.input('b', [w[0]]);
        if (blocks) graph.output('relu', relu(image));
        graph.output('y', conv2d(image, graph.input('w', w, WINDOW), bias, options));
        return runGraph(graph, values, { threads });
      };
      const { y: wanted } = await run(true, 1);
      for (const threads of [1, 2, 3]) {
        expect(sameBits((await run(false, threads))['y'], wanted)).to.equal(true);
      }
    });
  }
});
