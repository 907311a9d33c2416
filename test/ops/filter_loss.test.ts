import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import {
  affine,
  filterLoss,
  maskLayer,
  partGates,
  type FilterLossOptions,
} from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase, type OpUnderTest, type Reference } from '../support/check_op.js';
import { constant, seeded, uniform, type Draw } from '../support/draw.js';
import { runGraph } from '../support/engine.js';
import { Grid, sizes, type Round } from '../support/grid.js';

type Inputs = 'x' | 'peak_mean';

/** Running mean over images of each filter's peak after this batch. */
function peakMean(x: Grid, old: Grid, options: FilterLossOptions, f: Round): Grid {
  if (options.scale === 'paper' || options.training === false) return old;
  const [N, , n, m] = sizes(x);
  const momentum = Math.fround(options.momentum ?? 0.9);
  return old.map((before, d) => {
    let sum = 0;
    for (let image = 0; image < N; image++) {
      let peak = -Infinity;
      for (let i = 0; i < n * m; i++)
        peak = Math.max(peak, x.at(image, d, Math.floor(i / m), i % m));
      sum = f(sum + peak);
    }
    const batch = f(sum / N);
    return before < 0 ? batch : f(f(momentum * before) + f((1 - momentum) * batch));
  });
}

/** kappa / max(m_d, floor mean m), 0 where that is 0; 1 for raw maps. */
function factors(x: Grid, old: Grid, options: FilterLossOptions, f: Round): Grid {
  if (options.scale === 'paper') return old.map(() => 1);
  const m = peakMean(x, old, options, f);
  const mean = f(m.data.reduce((sum, value) => f(sum + value), 0) / m.data.length);
  const least = f(Math.fround(options.floor ?? 0.05) * mean);
  const kappa = Math.fround(options.kappa ?? 0.5);
  return m.map((value) => (Math.max(value, least) > 0 ? f(kappa / Math.max(value, least)) : 0));
}

/** T[template][cell]: tau max(1 - beta |[i,j] - mu|_1 / sqrt(n m), -1), and -tau for the last. */
function templates(x: Grid, { scale, ...options }: FilterLossOptions, f: Round): Grid {
  const [, , n, m] = sizes(x);
  const tau = Math.fround(options.tau ?? (scale === 'paper' ? 0.5 / (n * m) : 1));
  const beta = Math.fround(options.beta ?? 4);
  const T = new Grid([n * m + 1, n * m]);
  for (const [t, cell] of T.cells()) {
    const down = Math.abs(Math.floor(t / m) - Math.floor(cell / m));
    const distance = down + Math.abs((t % m) - (cell % m));
    const unit =
      t === n * m ? -1 : Math.max(f(1 - f(f(beta * distance) / f(Math.sqrt(n * m)))), -1);
    T.set(f(tau * unit), t, cell);
  }
  return T;
}

const logSumExp = (values: number[], f: Round): number => {
  const top = Math.max(...values);
  const sum = values.reduce((total, value) => f(total + f(Math.exp(f(value - top)))), 0);
  return f(f(Math.log(sum)) + top);
};

/**
 * Loss_f = -sum_T p(T) KL_T, KL_T = sum_x p(x|T) log(p(x|T) / p(x)), and dLoss_f/ds(x,T) =
 * -p(T) p(x|T) (log(p(x|T) / p(x)) - KL_T), for the maps of one filter given as z[image][cell].
 */
function information(
  z: number[][],
  T: Grid,
  alpha: number,
  f: Round,
): { loss: number; dscore: number[][] } {
  const [count, cells] = sizes(T);
  const prior = (t: number): number =>
    t === cells ? f(1 - Math.fround(alpha)) : f(Math.fround(alpha) / cells);
  const scores = z.map((map) =>
    Array.from({ length: count }, (_, t) =>
      map.reduce((sum, value, cell) => f(sum + f(value * T.at(t, cell))), 0),
    ),
  );
  const logZ = Array.from({ length: count }, (_, t) =>
    logSumExp(
      scores.map((row) => row[t] ?? NaN),
      f,
    ),
  );
  // log p(x|T), log p(x)
  const given = scores.map((row) => row.map((s, t) => f(s - (logZ[t] ?? NaN))));
  const evidence = given.map((row) =>
    logSumExp(
      row.map((p, t) => f(f(Math.log(prior(t))) + p)),
      f,
    ),
  );
  const surprise = given.map((row, x) => row.map((p) => f(p - (evidence[x] ?? NaN))));
  const kl = Array.from({ length: count }, (_, t) =>
    given.reduce(
      (sum, row, x) => f(sum + f(f(Math.exp(row[t] ?? NaN)) * (surprise[x]?.[t] ?? NaN))),
      0,
    ),
  );
  const dscore = given.map((row, x) =>
    row.map((p, t) =>
      f(-f(prior(t) * f(Math.exp(p))) * f((surprise[x]?.[t] ?? NaN) - (kl[t] ?? NaN))),
    ),
  );
  return { loss: -kl.reduce((sum, k, t) => f(sum + f(prior(t) * k)), 0), dscore };
}

/** The scaled maps of one filter. */
function mapsOf(x: Grid, d: number, factor: number, f: Round): number[][] {
  const [N, , n, m] = sizes(x);
  return Array.from({ length: N }, (_, image) =>
    Array.from({ length: n * m }, (_, i) => f(factor * x.at(image, d, Math.floor(i / m), i % m))),
  );
}

const priorOf = (T: Grid, options: FilterLossOptions): number => {
  const [, cells] = sizes(T);
  return options.alpha ?? cells / (1 + cells);
};

const reference: Reference<Inputs, FilterLossOptions> = ({ x, peak_mean }, options, f) => {
  const T = templates(x, options, f);
  const factor = factors(x, peak_mean, options, f);
  const loss = peak_mean.map((_, d) => {
    const z = mapsOf(x, d, factor.at(d), f);
    return information(z, T, priorOf(T, options), f).loss;
  });
  return { loss, peak_mean: peakMean(x, peak_mean, options, f) };
};

/** Mean over images of weight * (log sum_T p(T) exp(s) - s of "no part" - log p of it). */
function charge(z: number[][], T: Grid, alpha: number, weights: number[], f: Round): number {
  const [count, cells] = sizes(T);
  const prior = (t: number): number =>
    t === cells ? f(1 - Math.fround(alpha)) : f(Math.fround(alpha) / cells);
  const terms = z.map((map, image) => {
    const likely = Array.from({ length: count }, (_, t) => {
      const score = map.reduce((sum, value, cell) => f(sum + f(value * T.at(t, cell))), 0);
      return f(score + f(Math.log(prior(t))));
    });
    const cross = f(logSumExp(likely, f) - (likely[cells] ?? NaN));
    return f((weights[image] ?? NaN) * cross);
  });
  return f(terms.reduce((sum, term) => f(sum + term), 0) / z.length);
}

/** The loss with `foreign` (N, D). */
const charged: Reference<Inputs | 'foreign', FilterLossOptions> = (
  { x, peak_mean, foreign },
  options,
  f,
) => {
  const found = reference({ x, peak_mean }, options, f);
  const T = templates(x, options, f);
  const factor = factors(x, peak_mean, options, f);
  const loss = peak_mean.map((_, d) => {
    const z = mapsOf(x, d, factor.at(d), f);
    const weights = z.map((_, image) => foreign.at(image, d));
    const own = found.loss?.at(d) ?? NaN;
    return f(own + charge(z, T, priorOf(T, options), weights, f));
  });
  return { ...found, loss };
};

const op: OpUnderTest<Inputs, FilterLossOptions> = {
  name: 'filter_loss',
  inputs: { x: { draw: relued(1) }, peak_mean: { state: true, draw: uniform(0.5, 2) } },
  wrt: ['x'],
  build: ({ x, peak_mean }, attrs) => ({ loss: filterLoss(x, peak_mean, attrs) }),
  floor: 1e-5,
};

/** max(height * normal, 0): what a ReLU leaves. */
function relued(height: number): Draw {
  return (random, count) =>
    Array.from({ length: count }, () => Math.max(height * random.normal(), 0));
}

function of(
  N: number,
  D: number,
  n: number,
  attrs: FilterLossOptions,
  { m = n, ...rest }: Partial<OpCase<Inputs, FilterLossOptions>> & { m?: number } = {},
): OpCase<Inputs, FilterLossOptions> {
  return { shapes: { x: [N, D, n, m], peak_mean: [D] }, attrs, ...rest };
}

function ofForeign(
  x: [number, number, number, number],
  attrs: FilterLossOptions,
  rest: Partial<OpCase<Inputs | 'foreign', FilterLossOptions>> = {},
): OpCase<Inputs | 'foreign', FilterLossOptions> {
  const [N, D] = x;
  return { shapes: { x, peak_mean: [D], foreign: [N, D] }, attrs, ...rest };
}

const fresh = constant(-1);

describe('ops: filter_loss', () => {
  // no running mean depends on the batch: the gradient is the derivative
  checkOp(op, reference, [
    of(4, 3, 4, { scale: 'paper' }, { draw: { peak_mean: fresh } }),
    of(5, 2, 3, { scale: 'paper', tau: 0.7, beta: 2, alpha: 0.6 }),
    of(3, 17, 2, { scale: 'peak', training: false }),
    of(4, 2, 5, { scale: 'peak', training: false, kappa: 3, floor: 0.9 }),
    of(1, 2, 3, { scale: 'paper' }),
    of(4, 3, 5, { scale: 'paper' }, { m: 8 }),
    of(3, 2, 7, { scale: 'paper', tau: 0.4, beta: 2 }, { m: 4 }),
    of(3, 17, 4, { scale: 'peak', training: false }, { m: 13, samples: 10 }),
    // scores that exp of a float32 cannot hold
    of(4, 2, 4, { scale: 'paper' }, { draw: { x: relued(3000) } }),
    of(6, 3, 14, { scale: 'paper' }, { large: true, samples: 6 }),
  ]);

  // running means are constants: dLoss/dx_ij = factor sum_T dLoss/ds(x,T) T_ij
  checkOp<Inputs, FilterLossOptions>(
    {
      ...op,
      closedForm({ x, peak_mean }, g, options, f) {
        const [, D, n, m] = sizes(x);
        const T = templates(x, options, f);
        const factor = factors(x, peak_mean, options, f);
        const dx = new Grid(x.shape);
        for (let d = 0; d < D; d++) {
          const z = mapsOf(x, d, factor.at(d), f);
          const { dscore } = information(z, T, priorOf(T, options), f);
          dscore.forEach((row, image) => {
            for (let i = 0; i < n * m; i++) {
              const sum = row.reduce((total, s, t) => f(total + f(s * T.at(t, i))), 0);
              dx.set(f(f(g.at(d) * factor.at(d)) * sum), image, d, Math.floor(i / m), i % m);
            }
          });
        }
        return { x: dx };
      },
      wrong: [
        { shapes: { x: [4, 3] }, text: /\[filter_loss\] Expected x of shape \(N, D, n, m\)/ },
        {
          shapes: { peak_mean: [4] },
          text: /\[filter_loss\] Expected peak_mean of shape .*D = 3, as x has/,
        },
      ],
    },
    reference,
    [
      of(4, 3, 4, {}),
      of(4, 3, 4, {}, { draw: { peak_mean: fresh } }),
      of(2, 17, 3, { momentum: 0.3, kappa: 2 }),
      of(3, 33, 2, {}, { draw: { x: relued(1e-4), peak_mean: fresh } }),
      of(2, 2, 1, {}),
      of(4, 3, 5, {}, { m: 8 }),
      of(3, 17, 7, {}, { m: 4, draw: { peak_mean: fresh } }),
      of(2, 2, 4, { kappa: 2 }, { m: 13 }),
      // scores that exp of a double cannot hold: probabilities of 0 and 1
      of(3, 2, 3, { scale: 'paper', tau: 1 }, { draw: { x: relued(400) } }),
      of(8, 20, 7, {}, { large: true, draw: { peak_mean: fresh } }),
    ],
  );

  checkOp(
    {
      ...op,
      inputs: {
        ...op.inputs,
        // a third of the images is of the filter's own class
        foreign: {
          draw: (random, count) => Array.from({ length: count }, () => random.int(3) / 5),
        },
      },
      build: ({ x, peak_mean, foreign }, attrs) => ({
        loss: filterLoss(x, peak_mean, { ...attrs, foreign }),
      }),
      wrong: [
        { shapes: { foreign: [4, 2] }, text: /\[filter_loss\] Expected foreign of shape/ },
        {
          shapes: {},
          attrs: { alpha: 1 },
          text: /\[filter_loss\] Expected a number between 0 and 1 beside foreign for alpha/,
          code: 'E_ARGUMENT',
        },
      ],
    },
    charged,
    [
      ofForeign([4, 3, 4, 4], { scale: 'paper', tau: 0.4 }),
      ofForeign([3, 17, 2, 5], { scale: 'peak', training: false }),
      ofForeign([1, 2, 3, 3], { scale: 'paper', tau: 1 }), // the charge alone
      ofForeign([5, 2, 4, 4], { scale: 'paper', tau: 1, alpha: 0.6 }),
      // all but sure of a part
      ofForeign([3, 2, 4, 4], { scale: 'paper', tau: 1 }, { draw: { x: relued(40) } }),
      ofForeign([6, 3, 14, 14], { scale: 'paper', tau: 0.5 }, { large: true, samples: 6 }),
    ],
  );

  for (const training of [false, true]) {
    it(`maps times the factor of the gates, tau kappa: scale peak, training ${String(training)}`, async () => {
      const graph = new Graph();
      const x = graph.input('x', [3, 2, 4, 4]);
      const options = { kappa: 0.7, floor: 0.5 };
      const gates = partGates(x, maskLayer(x).peak, graph.state('alpha', [2]), {
        training,
        floor: 0.5,
      });
      const scaled = affine(x, gates.factor, graph.constant(0, [2]));
      graph.output('own', filterLoss(x, gates.alpha, { ...options, training: false }));
      graph.output('updating', filterLoss(x, graph.state('peak', [2]), { ...options, training }));
      graph.output('given', filterLoss(scaled, gates.alpha, { scale: 'paper', tau: 0.7 }));
      const means = Float32Array.of(2, 0.1); // the second below the floor
      const { own, updating, given, alpha, peak } = await runGraph(graph, {
        x: Float32Array.from(relued(1)(seeded('scaled maps'), 96)),
        alpha: means,
        peak: means,
      });
      expect(alpha).to.deep.equal(peak);
      own?.forEach((loss, d) => {
        for (const other of [given, updating]) {
          expect(other?.[d]).to.be.closeTo(loss, 1e-5 * Math.abs(loss));
        }
        expect(loss).to.be.below(-1e-4);
      });
    });
  }

  it('dead filters lose nothing and get no gradient', async () => {
    const graph = new Graph();
    const x = graph.input('x', [3, 2, 2, 2]);
    graph.output('loss', filterLoss(x, graph.state('m', [2], { fill: -1 })));
    const { loss, m } = await runGraph(graph, {
      x: new Float32Array(24),
      m: Float32Array.of(-1, -1),
    });
    expect([...(loss ?? [])].map(Math.abs)).to.deep.equal([0, 0]);
    expect([...(m ?? [])]).to.deep.equal([0, 0]);
  });
});
