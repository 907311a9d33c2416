import { expect } from 'chai';
import { ACCURACIES, type Accuracy } from '../../lib/engine/binding.js';
import { gradient } from '../../lib/engine/grad.js';
import { Graph } from '../../lib/engine/graph.js';
import { conv2d } from '../../lib/engine/ops/index.js';
import { sizeOf } from '../../lib/engine/tensor.js';
import { normal, seeded } from '../support/draw.js';
import { backends, runGraph, sameBits, smallOnly, type Arrays } from '../support/engine.js';
import { relativeError } from '../support/grid.js';
import { failure } from '../support/performer.js';

/** Largest error that each accuracy may have at 512 channels, of the largest value. */
const BARS: Record<Accuracy, number> = { fast: 1e-5, high: 2e-6, direct: 2e-6 };

/** A 3x3 convolution with stride 1. */
interface Shape {
  B: number;
  C: number;
  H: number;
  W: number;
  O: number;
  /** top, left, bottom, right */
  pad: readonly [number, number, number, number];
}

const square = (B: number, C: number, O: number, n: number): Shape => {
  return { B, C, H: n, W: n, O, pad: [1, 1, 1, 1] };
};

function outputSides({ H, W, pad }: Shape): [number, number] {
  return [H + pad[0] + pad[2] - 2, W + pad[1] + pad[3] - 2];
}

/** y, dx and dw of one convolution without a bias: x, w and g normal. */
function graphOf(shape: Shape): { graph: Graph; values: Arrays } {
  const { B, C, H, W, O, pad } = shape;
  const graph = new Graph();
  const x = graph.input('x', [B, C, H, W]);
  const w = graph.input('w', [O, C, 3, 3], { layout: 'conv_weight' });
  const g = graph.input('g', [B, O, ...outputSides(shape)]);
  const y = conv2d(x, w, undefined, { pad });
  const [dx, dw] = gradient([{ of: y, gradient: g }], [x, w]);
  if (!dx || !dw) throw new Error('no gradient');
  graph.output('y', y);
  graph.output('dx', dx);
  graph.output('dw', dw);
  const leaves = [x, w, g].map(({ node: { name }, shape: sides }) => {
    return [name, Float32Array.from(normal(seeded(name), sizeOf(sides)))] as const;
  });
  return { graph, values: Object.fromEntries(leaves) };
}

/** The three passes in float64: y += w x, dx += w g, dw += x g over all windows. */
function reference(shape: Shape, { x, w, g }: Record<string, ArrayLike<number>>) {
  const { B, C, H, W, O, pad } = shape;
  const [P, Q] = outputSides(shape);
  const [X, K, G] = [x, w, g].map((values) => Float64Array.from(values ?? [])) as [
    ...[Float64Array, Float64Array, Float64Array],
  ];
  const [y, dx, dw] = [
    new Float64Array(G.length),
    new Float64Array(X.length),
    new Float64Array(K.length),
  ];
  for (let window = 0; window < B * O * C * 9; window++) {
    const tap = window % 9;
    const c = Math.floor(window / 9) % C;
    const o = Math.floor(window / 9 / C) % O;
    const n = Math.floor(window / 9 / C / O);
    const [down, across] = [Math.floor(tap / 3) - pad[0], (tap % 3) - pad[1]];
    const at = (o * C + c) * 9 + tap;
    const weight = K[at] ?? NaN;
    let sum = 0;
    for (let p = Math.max(0, -down); p < Math.min(P, H - down); p++) {
      const row = ((n * O + o) * P + p) * Q;
      const source = ((n * C + c) * H + p + down) * W + across;
      for (let q = Math.max(0, -across); q < Math.min(Q, W - across); q++) {
        const [value, slope] = [X[source + q] ?? NaN, G[row + q] ?? NaN];
        y[row + q] = (y[row + q] ?? NaN) + weight * value;
        dx[source + q] = (dx[source + q] ?? NaN) + weight * slope;
        sum += value * slope;
      }
    }
    dw[at] = (dw[at] ?? NaN) + sum;
  }
  return { y, dx, dw };
}

const show = ({ B, C, H, W, O, pad }: Shape): string =>
  `(${[B, C, H, W].join(', ')}) -> ${String(O)}, pad ${pad.join(' ')}`;

/** The same bits on 1, 2 and 3 threads. */
async function runOnThreads(graph: Graph, values: Arrays, accuracy: Accuracy): Promise<Arrays> {
  const [one, ...more] = await Promise.all(
    [1, 2, 3].map((threads) => runGraph(graph, values, { backend: 'cpu', threads, accuracy })),
  );
  if (!one) throw new Error('nothing ran');
  for (const other of more) {
    expect(Object.keys(one).filter((name) => !sameBits(one[name], other[name]))).to.deep.equal([]);
  }
  return one;
}
const small: Shape[] = [
  square(32, 32, 32, 4),
  square(9, 35, 37, 5),
  square(1, 33, 50, 24),
  { B: 3, C: 48, H: 13, W: 18, O: 35, pad: [0, 1, 2, 0] },
  { B: 2, C: 40, H: 15, W: 14, O: 41, pad: [2, 2, 2, 2] },
  square(1, 32, 33, 7), // too few tiles: direct with each
];
const large: Shape[] = [
  square(2, 512, 512, 14),
  square(1, 64, 72, 64),
  ...Array.from({ length: 16 }, (_, i) => square(1 + (i % 3), 34 + i, 47 - i, 4 + 3 * i)),
];

describe('ops: conv2d, accuracy', () => {
  before(function () {
    if (!backends().includes('cpu')) this.skip();
  });

  for (const shape of smallOnly ? small : [...small, ...large]) {
    it(`${show(shape)}: y, dx and dw of each accuracy against float64`, async () => {
      const { graph, values } = graphOf(shape);
      const want = Object.entries(reference(shape, values));
      for (const accuracy of ACCURACIES) {
        const got = await runOnThreads(graph, values, accuracy);
        for (const [name, grid] of want) {
          const error = relativeError(got[name] ?? [], grid);
          expect(error, `${name}, ${accuracy}`).to.be.below(BARS[accuracy]);
        }
      }
    });
  }

  it('each accuracy computes in its own way: other bits', async () => {
    const { graph, values } = graphOf(square(2, 64, 64, 14));
    const [fast = {}, high = {}, direct = {}] = await Promise.all(
      ACCURACIES.map((accuracy) => runGraph(graph, values, { backend: 'cpu', accuracy })),
    );
    for (const name of ['y', 'dx', 'dw']) {
      expect(sameBits(fast[name], high[name]), `${name} of fast and high`).to.equal(false);
      expect(sameBits(fast[name], direct[name]), `${name} of fast and direct`).to.equal(false);
      expect(sameBits(high[name], direct[name]), `${name} of high and direct`).to.equal(false);
    }
  });

  it('another word is E_ARGUMENT', async () => {
    const { graph, values } = graphOf(square(1, 1, 1, 4));
    await failure('E_ARGUMENT', /fast, high or direct for accuracy but received "exact"/, () =>
      runGraph(graph, values, { accuracy: 'exact' as never }),
    );
  });
});
