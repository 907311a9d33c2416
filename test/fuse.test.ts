import { expect } from 'chai';
import { gradient } from '../lib/grad.js';
import { Graph } from '../lib/graph.js';
import { flatten, linear, meanSquare } from '../lib/ops/index.js';
import { adam, hyperParameters, sgd } from '../lib/optimizer/index.js';
import { createSession } from '../lib/session.js';
import { sizeOf } from '../lib/tensor.js';
import { normal, seeded } from './support/draw.js';
import { backends, sameBits, type Arrays } from './support/engine.js';

const N = 5;
type Optimizer = typeof adam | typeof sgd;

/** Two fully connected layers in training; `fetchable`: their weights' gradients are outputs. */
function trainingGraph(optimizer: Optimizer, fetchable: boolean): Graph {
  const graph = new Graph();
  const x = flatten(graph.input('x', [N, 5, 3, 3]));
  const options = { layout: 'linear_weight', chw: x.chw } as const;
  const w1 = graph.parameter('w1', [37, 45], options);
  const w2 = graph.parameter('w2', [7, 37], { layout: 'linear_weight' });
  const h = linear(x, w1, graph.parameter('b1', [37]), { relu: true });
  const y = linear(h, w2, undefined);
  const loss = meanSquare(y, graph.input('target', [N, 7]));
  const parameters = graph.parameters();
  const gradients = gradient([{ of: loss }], parameters).map((found, i) => {
    const parameter = parameters[i];
    if (!found || !parameter) throw new Error('no gradient');
    if (fetchable && parameter.shape.length === 2) graph.output(`d ${parameter.node.name}`, found);
    return [parameter, found] as const;
  });
  const hyper = graph.input('hyper', [3]);
  optimizer(gradients, hyper, { weightDecay: 1e-2, lrScale: (name) => (name === 'w1' ? 2 : 1) });
  graph.output('loss', loss);
  return graph;
}

async function threeSteps(graph: Graph, backend: 'cpu' | 'cuda', threads: number): Promise<Arrays> {
  const programs = { train: graph };
  const session = await createSession({ programs, backend, threads, precision: 'fp32' });
  try {
    const weights: Arrays = {};
    for (const [name, { shape }] of session.persistent(['parameter'])) {
      weights[name] = Float32Array.from(normal(seeded(name), sizeOf(shape)));
    }
    await session.write(weights);
    for (let step = 0; step < 3; step++) {
      const random = seeded(`step ${step}`);
      const x = Float32Array.from(normal(random, N * 45));
      const target = Float32Array.from(normal(random, N * 7));
      const inputs = { x, target, hyper: hyperParameters(0.01, step) };
      await session.run('train', { inputs, fetch: ['loss'] });
    }
    return await session.read([...session.persistent().keys()]);
  } finally {
    session.dispose();
  }
}

describe('fusion of a weight gradient with the optimizer', () => {
  for (const optimizer of [adam, sgd]) {
    const fused = trainingGraph(optimizer, false);
    const apart = trainingGraph(optimizer, true);

    for (const backend of backends()) {
      it(`${optimizer.name} on ${backend}: the same bits as with the gradient in memory`, async () => {
        const wanted = await threeSteps(apart, backend, 2);
        for (const threads of [1, 2, 3]) {
          const found = await threeSteps(fused, backend, threads);
          expect(Object.keys(found)).to.have.members(Object.keys(wanted));
          for (const [name, values] of Object.entries(found)) {
            expect(
              values.some((value) => value !== 0),
              name,
            ).to.equal(true);
            expect(sameBits(values, wanted[name]), name).to.equal(true);
          }
        }
      });
    }

    it(`${optimizer.name}: no gradient of a linear weight is computed unless it is fetched`, async () => {
      const kernels = async (graph: Graph): Promise<string[]> => {
        const session = await createSession({ programs: { train: graph }, backend: 'cpu' });
        const names = session.program('train').ops.map(({ kernel }) => kernel);
        session.dispose();
        return names.filter((name) => /linear_.*(weight|step)/.test(name));
      };
      const step = `linear_${optimizer.name}_step`;
      expect(await kernels(fused)).to.deep.equal([step, step]);
      expect(await kernels(apart)).to.deep.equal(Array(2).fill('linear_backward_weight'));
    });
  }
});
