import { expect } from 'chai';
import { buildTrainingGraph } from '../../lib/explainer/loss.js';
import { trainOptions } from '../../lib/explainer/options.js';
import { gradient } from '../../lib/engine/grad.js';
import { Graph, type Value } from '../../lib/engine/graph.js';
import {
  add,
  conv2d,
  flatten,
  linear,
  maskLayer,
  maxpool2d,
  meanSquare,
  relu,
  scale,
} from '../../lib/engine/ops/index.js';
import { adam, hyperParameters, sgd } from '../../lib/engine/optimizer/index.js';
import { schedule } from '../../lib/engine/plan.js';
import { createSession } from '../../lib/engine/session.js';
import { sizeOf } from '../../lib/engine/tensor.js';
import { normal, seeded } from '../support/draw.js';
import { backends, type Arrays } from '../support/engine.js';

const N = 5;
type Optimizer = typeof adam | typeof sgd;

/** A convolution, a masked and pooled ReLU, two fully connected layers, in training. */
function smallNetwork(optimizer: Optimizer, width = 6): Graph {
  const graph = new Graph();
  const filters = graph.parameter('filters', [5, 3, 3, 3], { layout: 'conv_weight' });
  const { y: masked } = maskLayer(
    relu(conv2d(graph.input('x', [N, 3, 6, width]), filters, undefined, { pad: 1 })),
  );
  const x = flatten(maxpool2d(masked, { kernel: 2 }));
  const w1 = graph.parameter('w1', [37, x.shape[1] ?? 0], { layout: 'linear_weight', chw: x.chw });
  const w2 = graph.parameter('w2', [7, 37], { layout: 'linear_weight' });
  const h = linear(x, w1, graph.parameter('b1', [37]), { relu: true });
  const loss = meanSquare(linear(h, w2, undefined), graph.input('target', [N, 7]));
  const parameters = graph.parameters();
  const pairs = gradient([{ of: loss }], parameters).map((found, i) => {
    const parameter = parameters[i];
    if (!found || !parameter) throw new Error('no gradient');
    return [parameter, found] as const;
  });
  const hyper = graph.input('hyper', [3]);
  optimizer(pairs, hyper, { weightDecay: 1e-2, lrScale: (name) => (name === 'w1' ? 2 : 1) });
  graph.output('loss', loss);
  return graph;
}

/** The explainer's training step. */
function explainerStep(options: Parameters<typeof trainOptions.parse>[0]): Graph {
  const cells = { height: 6, width: 6, pool: { kernel: 2 }, site: undefined };
  const spec = { channels: 5, filters: 7, ...cells, featureScale: 0.5 };
  const targets = [11, 6].map((size, i) => ({
    ...{ name: `target ${String(i)}`, shape: [size], size, relu: true },
  }));
  const training = { batch: N, targetPower: [1, 2] };
  return buildTrainingGraph({ ...spec, targets }, trainOptions.parse(options), training).graph;
}

/** The same graph with every value fetchable: no rule applies. */
function apart(graph: Graph): Graph {
  for (const { kind, outputs, id } of graph.nodes) {
    if (kind !== 'op') continue;
    outputs.forEach((value, i) => {
      graph.output(`value ${String(id)} ${String(i)}`, value);
    });
  }
  return graph;
}

/** Parameters, states and losses after three steps. */
async function threeSteps(graph: Graph, backend: 'cpu' | 'cuda', threads: number): Promise<Arrays> {
  const programs = { train: graph };
  const session = await createSession({ programs, backend, threads, precision: 'fp32' });
  try {
    const weights: Arrays = {};
    for (const [name, { shape }] of session.persistent(['parameter'])) {
      weights[name] = Float32Array.from(normal(seeded(name), sizeOf(shape)), (x) => x / 2);
    }
    await session.write(weights);
    const { inputs: names, slots } = session.program('train');
    const fetch = [...graph.outputs.keys()].filter((name) => !name.startsWith('value'));
    let fetched: Arrays = {};
    for (let step = 0; step < 3; step++) {
      const random = seeded(`step ${String(step)}`);
      const inputs: Arrays = {};
      for (const [name, slot] of names) {
        inputs[name] = Float32Array.from(
          normal(random, sizeOf(slots[slot]?.shape ?? [])),
          Math.abs,
        );
      }
      inputs['hyper'] = hyperParameters(0.01, step);
      fetched = await session.run('train', { inputs, fetch });
    }
    return { ...fetched, ...(await session.read([...session.persistent().keys()])) };
  } finally {
    session.dispose();
  }
}

async function kernels(graph: Graph): Promise<string[]> {
  const session = await createSession({ programs: { train: graph }, backend: 'cpu' });
  const names = session.program('train').ops.map(({ kernel }) => kernel);
  session.dispose();
  return names;
}

/** Largest difference, as a share of the largest number. */
function difference(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  const [a, b] = [Array.from(found), Array.from(wanted)];
  const largest = Math.max(...b.map(Math.abs), 1e-30);
  return Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? NaN)))) / largest;
}

const GRAPHS: Record<string, () => Graph> = {
  'a network with Adam': () => smallNetwork(adam),
  'a network with SGD': () => smallNetwork(sgd),
  'a network of maps that are not square': () => smallNetwork(sgd, 9),
  'the explainer with balanced losses': () => explainerStep({ kernel: 3 }),
  'the explainer with a fixed weight': () => explainerStep({ lambdaFilter: 0.3, optimizer: 'sgd' }),
  'the explainer with clipped gradients': () => explainerStep({ clipNorm: 0.1 }),
  'the explainer without filter losses': () => explainerStep({ lambdaFilter: 0 }),
};

/** Images, channels, filters, height, width; pooled: by tiles of every kind, aligned with images or not. */
const MASKED: readonly (readonly [number, number, number, number, number, boolean])[] = [
  [3, 5, 37, 7, 7, false], // smaller than a tile
  [3, 4, 6, 8, 8, true],
  [5, 3, 70, 9, 9, false],
  [2, 64, 132, 14, 14, true],
  [2, 32, 132, 13, 13, false],
  [3, 4, 37, 5, 8, false],
  [3, 5, 6, 4, 13, true],
];
const PRECISIONS = ['fp32', 'tf32', 'bf16'] as const;

describe('fusion', () => {
  for (const [name, build] of Object.entries(GRAPHS)) {
    for (const backend of backends()) {
      it(`${name} on ${backend}: the numbers of the calls apart`, async () => {
        const wanted = await threeSteps(apart(build()), backend, 2);
        for (const threads of [1, 2, 3]) {
          const found = await threeSteps(build(), backend, threads);
          expect(Object.keys(found)).to.have.members(Object.keys(wanted));
          for (const [key, values] of Object.entries(found)) {
            expect(
              values.some((value) => value !== 0),
              key,
            ).to.equal(true);
            expect(difference(values, wanted[key] ?? []), key).to.be.below(2e-6);
          }
        }
      });
    }
  }

  it('is off for what is fetched', async () => {
    const names = await kernels(apart(explainerStep({})));
    expect(names.filter((name) => /mask_pool|norm_mix|linear_.*step/.test(name))).to.deep.equal([]);
    expect(names.filter((name) => name === 'relu_backward')).to.have.length(9);
  });

  it('is off for gradients that are clipped; a norm that is not reached changes nothing', async () => {
    const clipped = (): Graph => explainerStep({ clipNorm: 1e6 });
    const names = await kernels(clipped());
    expect(names.filter((name) => /linear_.*step/.test(name))).to.deep.equal([]);
    const [found, wanted] = await Promise.all(
      [clipped(), explainerStep({})].map((graph) => threeSteps(graph, 'cpu', 2)),
    );
    for (const [key, values] of Object.entries(found ?? {})) {
      expect(difference(values, wanted?.[key] ?? []), key).to.be.below(2e-6);
    }
    const other = await threeSteps(explainerStep({ clipNorm: 0.1 }), 'cpu', 2);
    expect(
      difference(other['adam.m/fc_dec_1.weight'] ?? [], wanted?.['adam.m/fc_dec_1.weight'] ?? []),
    ).to.be.above(0.01);
  });

  it('leaves no pass over memory that another can take along', async () => {
    const names = await kernels(explainerStep({}));
    for (const gone of [
      'norm_layer',
      'mix_tracks',
      'linear_backward_data',
      'linear_backward_weight',
    ]) {
      expect(
        names.filter((name) => name.startsWith(gone)),
        gone,
      ).to.deep.equal([]);
    }
    expect(names.filter((name) => name.startsWith('mask_pool'))).to.have.length(2);
    expect(names.filter((name) => name === 'mask_layer_forward')).to.have.length(1);
    // what the first layer's share of the balance passes through, and the last target's own
    expect(names.filter((name) => name === 'relu_backward')).to.have.length(2);
  });

  it('maps between convolutions are rounded by the call that makes them, and by no other', () => {
    const graph = new Graph();
    const filters = (name: string): Value =>
      graph.parameter(name, [4, 4, 3, 3], { layout: 'conv_weight' });
    const conv = (x: Value, name: string): Value =>
      conv2d(x, filters(name), undefined, { pad: 1, relu: true });
    const first = conv(graph.input('x', [N, 4, 8, 8]), 'first');
    const second = conv(maxpool2d(first, { kernel: 2 }), 'second');
    const third = conv(add(second, second), 'third');
    graph.output('y', scale(conv(scale(third, { factor: 2 }), 'fourth'), { factor: 3 }));
    const { nodes } = schedule(graph);
    const found = nodes.flatMap(({ op, attrs }) =>
      op && 'round' in attrs ? [[op.name, attrs['rounded'] ?? 0, attrs['round']]] : [],
    );
    expect(found).to.deep.equal([
      ['conv2d_forward', 0, 1], // through the pooling
      ['conv2d_forward', 1, 0], // a sum reads it
      ['conv2d_forward', 0, 0],
      ['scale_forward', 0, 1],
      ['conv2d_forward', 1, 0],
      ['scale_forward', 0, 0],
    ]);
  });

  for (const backend of backends()) {
    for (const precision of PRECISIONS) {
      it(`a mask knows the peaks of its convolution on ${backend} at ${precision}`, async () => {
        for (const [N, C, D, height, width, pooled] of MASKED) {
          const graph = new Graph();
          const w = graph.parameter('w', [D, C, 3, 3], { layout: 'conv_weight' });
          const b = graph.parameter('b', [D]);
          const x = conv2d(graph.input('x', [N, C, height, width]), w, b, { pad: 1, relu: true });
          const { y, peak } = maskLayer(x);
          graph.output('x', x);
          graph.output('peak', peak);
          graph.output('y', pooled ? maxpool2d(y, { kernel: 2 }) : y);
          const [conv] = schedule(graph).nodes.flatMap(({ op, attrs }) => (op ? [attrs] : []));
          expect(conv).to.include({ peaks: 1 });
          const session = await createSession({ programs: { main: graph }, backend, precision });
          try {
            const random = seeded(`${String(D)} ${String(height)} ${String(width)}`);
            // few different values, so that equal ones are often the largest; negative maps are 0
            const draw = (count: number): Float32Array =>
              Float32Array.from(normal(random, count), (value) => Math.round(value / 2));
            await session.write({
              w: draw(D * C * 9),
              b: Float32Array.from(draw(D), (v) => 3 * v),
            });
            const inputs = { x: draw(N * C * height * width) };
            const fetch = ['x', 'peak', 'y'];
            const found = await session.run('main', { inputs, fetch });
            const maps = found['x'] ?? [];
            const cells = height * width;
            const first = Array.from({ length: N * D }, (_, map) => {
              const values = Array.from(maps.slice(map * cells, (map + 1) * cells));
              return values.indexOf(Math.max(...values));
            });
            const at = `${String(D)} maps of ${String(height)} x ${String(width)}`;
            expect([...(found['peak'] ?? [])], at).to.deep.equal(first);
          } finally {
            session.dispose();
          }
        }
      });
    }
  }

  it('only the gradient that is fetched is computed apart', async () => {
    const graph = smallNetwork(adam);
    const w2 = graph.leaf('w2');
    const [fetched] = gradient([{ of: [...graph.outputs.values()][0]! }], [w2!]);
    graph.output('dw2', fetched!);
    const names = (await kernels(graph)).filter((name) => /linear_.*(weight|step)/.test(name));
    expect(names).to.deep.equal(['linear_backward_weight', 'linear_adam_step']);
  });
});
