import { expect } from 'chai';
import { gradient } from '../lib/engine/grad.js';
import { Graph } from '../lib/engine/graph.js';
import {
  add,
  addScaled,
  balanceGradient,
  contributionLoss,
  conv2d,
  dropout,
  filterLoss,
  flatten,
  linear,
  maskLayer,
  maxpool2d,
  mean,
  meanSquare,
  mixTracks,
  normLayer,
  projectNorm,
} from '../lib/engine/ops/index.js';
import { adam, hyperParameters } from '../lib/engine/optimizer/index.js';
import { createSession } from '../lib/engine/session.js';
import { sizeOf } from '../lib/engine/tensor.js';
import { constant, normal, seeded, uniform } from './support/draw.js';
import { backends, sameBits, type Arrays } from './support/engine.js';

const STEPS = 10;
const [B, C, D, n, F] = [6, 20, 33, 10, 37];

/** A small explainer with every op of a training step, sizes that are no multiple of a tile. */
function trainingGraph(): Graph {
  const graph = new Graph();
  const x = graph.input('x', [B, C, n, n]);
  const target = graph.input('target', [B, F]);
  const seed = graph.input('seed', [2], { dtype: 'i32' });
  const hyper = graph.input('hyper', [3]);
  const convolution = (name: string) =>
    conv2d(
      x,
      graph.parameter(`${name}.weight`, [D, C, 3, 3], { layout: 'conv_weight' }),
      graph.parameter(`${name}.bias`, [D]),
      { pad: 1, relu: true },
    );
  const state = (name: string) => graph.state(name, [D], { fill: -1 });

  const a = convolution('interp');
  const parts = normLayer(maxpool2d(maskLayer(a).y, { kernel: 3, stride: 2 }), state('alpha'), {
    training: true,
  });
  const rest = normLayer(maxpool2d(convolution('ordin'), { kernel: 3, stride: 2 }), state('beta'), {
    training: true,
  });
  const wP = graph.parameter('w_p', []);
  const { y } = mixTracks(parts, rest, wP);
  const [, , P = 1, Q = 1] = y.shape;
  const weight = graph.parameter('fc.weight', [F, D * P * Q], {
    layout: 'linear_weight',
    chw: [D, P, Q],
  });
  const h = linear(
    dropout(flatten(y), seed, { rate: 0.3 }),
    weight,
    graph.parameter('fc.bias', [F]),
  );

  const filter = mean(filterLoss(a, state('peaks')));
  const reconstruction = add(meanSquare(h, target), contributionLoss(wP, { eta: 0.3 }));
  const [fromLoss] = gradient([{ of: reconstruction }], [a]);
  const [fromFilter] = gradient([{ of: filter }], [a]);
  if (!fromLoss || !fromFilter) throw new Error('no gradient arrives at the maps');
  const lambda = balanceGradient(fromLoss, fromFilter, { rho: 3 });
  const parameters = graph.parameters();
  const gradients = gradient(
    [{ of: reconstruction }, { of: a, gradient: fromFilter, scale: lambda }],
    parameters,
  ).map((value, i) => {
    const parameter = parameters[i];
    if (!value || !parameter) throw new Error(`no gradient for parameter ${String(i)}`);
    return [parameter, value] as const;
  });
  const updated = adam(gradients, hyper, { weightDecay: 1e-4 });
  const interp = updated.get('interp.weight');
  if (interp) graph.update(projectNorm(interp, graph.input('norm', [D])));
  graph.output('loss', addScaled(reconstruction, filter, lambda));
  return graph;
}

/** Everything that the session holds after the steps, and the loss of each. */
async function train(threads: number, backend: 'cpu' | 'cuda'): Promise<Arrays> {
  const session = await createSession({ programs: { train: trainingGraph() }, backend, threads });
  try {
    const weights: Arrays = {};
    for (const [name, { shape }] of session.persistent(['parameter'])) {
      const spread = shape.length < 2 ? constant(0) : uniform(-0.1, 0.1);
      weights[name] = Float32Array.from(spread(seeded(name), sizeOf(shape)));
    }
    await session.write(weights);
    const losses = new Float32Array(STEPS);
    for (let step = 0; step < STEPS; step++) {
      const random = seeded(`step ${String(step)}`);
      const { loss } = await session.run('train', {
        inputs: {
          x: Float32Array.from(normal(random, B * C * n * n), (value) => Math.max(value, 0)),
          target: Float32Array.from(normal(random, B * F)),
          seed: Int32Array.of(1, step),
          hyper: hyperParameters(1e-2, step),
          norm: new Float32Array(D).fill(1),
        },
        fetch: ['loss'],
      });
      losses[step] = loss?.[0] ?? NaN;
    }
    return { ...(await session.read([...session.persistent().keys()])), losses };
  } finally {
    session.dispose();
  }
}

function differences(a: Arrays, b: Arrays): string[] {
  return Object.keys({ ...a, ...b }).filter((name) => !sameBits(a[name], b[name]));
}

describe('determinism', () => {
  for (const backend of backends()) {
    it(`ten training steps on ${backend} give the same bits twice, on 1, 2 and 3 threads`, async () => {
      const first = await train(2, backend);
      expect([...(first.losses ?? [])].every(Number.isFinite), 'finite losses').to.equal(true);
      expect(new Set(first.losses).size, 'different losses').to.equal(STEPS);
      for (const threads of [2, 1, 3]) {
        const again = await train(threads, backend);
        expect(differences(first, again), `on ${String(threads)} threads`).to.deep.equal([]);
      }
    });
  }
});
