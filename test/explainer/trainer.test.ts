import { expect } from 'chai';
import { filterNorms, initialWeights } from '../../lib/explainer/initial.js';
import { INTERPRETABLE } from '../../lib/explainer/loss.js';
import type { StepReport, Trainer } from '../../lib/explainer/trainer.js';
import type { ValueType } from '../../lib/engine/tensor.js';
import { sizeOf, type TensorData } from '../../lib/engine/tensor.js';
import { sameBits } from '../support/engine.js';
import { failure } from '../support/performer.js';
import { batchOf, SPEC, trained, trainerOf } from './network_cases.js';

function moments(values: ArrayLike<number>): { mean: number; deviation: number; fourth: number } {
  const list = Array.from(values);
  const mean = list.reduce((sum, x) => sum + x, 0) / list.length;
  const power = (k: number): number =>
    list.reduce((sum, x) => sum + (x - mean) ** k, 0) / list.length;
  return { mean, deviation: Math.sqrt(power(2)), fourth: power(4) / power(2) ** 2 };
}

const total = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0);

async function norms(trainer: Trainer): Promise<Float32Array[]> {
  const names = INTERPRETABLE.map((layer) => `${layer}.weight`);
  const held = await trainer.session.read(names);
  return names.map((name) => filterNorms(held[name] as Float32Array, SPEC.filters));
}

describe('explainer: initial weights', () => {
  const shape = [64, 48, 3, 3];
  const type: ValueType = { shape, dtype: 'f32', layout: 'conv_weight', chw: undefined };
  const shapes = new Map<string, ValueType>([
    ['conv_interp_1.weight', type],
    ['conv_interp_1.bias', { ...type, shape: [64], layout: 'rows' }],
    ['conv_ordin.weight', type],
    ['fc_dec_1.weight', { ...type, shape: [100, 250], layout: 'linear_weight' }],
    ['mix.w_p', { ...type, shape: [], layout: 'rows' }],
  ]);

  it('are He-normal from the seed, biases and w_p 0', async () => {
    const weights = await initialWeights(shapes, { seed: 1 });
    for (const [name, { shape: sizes }] of shapes) {
      const values = weights[name] ?? new Float32Array(0);
      expect(values.length, name).to.equal(sizeOf(sizes));
      if (!name.endsWith('.weight')) {
        expect(
          [...values].every((x) => x === 0),
          name,
        ).to.equal(true);
        continue;
      }
      const { mean, deviation, fourth } = moments(values);
      const wanted = Math.sqrt(2 / sizeOf(sizes.slice(1)));
      const error = 5 / Math.sqrt(values.length); // five standard errors
      expect(mean / wanted, `${name} mean`).to.be.closeTo(0, error);
      expect(deviation / wanted, `${name} deviation`).to.be.closeTo(1, error);
      expect(fourth, `${name} fourth moment`).to.be.closeTo(3, error * Math.sqrt(24));
    }
  });

  it('differ from seed to seed and from layer to layer, and come again', async () => {
    const [a, b, again] = await Promise.all(
      [1, 2, 1].map((seed) => initialWeights(shapes, { seed })),
    );
    expect(sameBits(a?.['conv_interp_1.weight'], again?.['conv_interp_1.weight'])).to.equal(true);
    expect(sameBits(a?.['conv_interp_1.weight'], b?.['conv_interp_1.weight'])).to.equal(false);
    expect(sameBits(a?.['conv_interp_1.weight'], a?.['conv_ordin.weight'])).to.equal(false);
  });

  it('with directions: those in the centre taps of the first layer, norms as before', async () => {
    const directions = new Float32Array(64 * 48);
    for (let f = 0; f < 64; f++) directions[f * 48 + ((5 * f) % 48)] = 1;
    const weights = await initialWeights(shapes, { seed: 1 }, { interpretable: directions });
    const w = weights['conv_interp_1.weight'] ?? new Float32Array(0);
    for (const [f, norm] of filterNorms(w, 64).entries()) {
      const filter = w.subarray(f * 48 * 9, (f + 1) * 48 * 9);
      const largest = filter.indexOf(Math.max(...filter));
      expect(largest, `filter ${f}`).to.equal(((5 * f) % 48) * 9 + 4);
      expect(norm, `filter ${f}`).to.be.closeTo(Math.SQRT2, 0.1);
    }
  });
});

describe('explainer: trainer', () => {
  it('calibrates the decoder: pre-activations have mean and deviation of their target', async () => {
    const trainer = await trainerOf();
    const { features, targets } = batchOf(0);
    const fetch = ['z_1', 'z_2'];
    const z = await trainer.session.run('calibrate', { inputs: { features }, fetch });
    trainer.dispose();
    targets.forEach((target, l) => {
      const [found, wanted] = [moments(z[fetch[l] ?? ''] ?? []), moments(target)];
      expect(found.mean, `mean ${l}`).to.be.closeTo(wanted.mean, 1e-4);
      expect(found.deviation, `deviation ${l}`).to.be.closeTo(wanted.deviation, 1e-4);
    });
  });

  it('leaves the running means untouched while it calibrates', async () => {
    const trainer = await trainerOf();
    const alphas = ['norm_interp.alpha', 'norm_ordin.alpha'];
    const states = Object.values(await trainer.session.read(alphas));
    trainer.dispose();
    expect(states.map((alpha) => [...alpha])).to.deep.equal(
      states.map(() => Array.from({ length: SPEC.filters }, () => -1)),
    );
  });

  it('keeps the norm of every interpretable filter over 20 steps', async () => {
    const before = await trained({ lr: 1e-2 }, norms, { steps: 0 });
    await trained({ lr: 1e-2 }, async (trainer) => {
      const after = await norms(trainer);
      const start = await trainerOf({ lr: 1e-2 });
      const name = 'conv_interp_1.weight';
      const first = (await start.session.read([name]))[name] ?? [];
      start.dispose();
      const last = (await trainer.session.read([name]))[name] ?? [];
      const moved = Math.max(...Array.from(last, (x, i) => Math.abs(x - (first[i] ?? 0))));
      expect(moved, 'largest change').to.be.above(0.02);
      before.forEach((layer, l) => {
        layer.forEach((norm, f) => {
          expect((after[l]?.[f] ?? 0) / norm, `layer ${l} filter ${f}`).to.be.closeTo(1, 1e-5);
        });
      });
    });
  });

  it('lets the norms go without projection', async () => {
    const before = await trained({ project: false }, norms, { steps: 0 });
    const after = await trained({ project: false, lr: 1e-2 }, norms);
    const change = before.flatMap((layer, l) =>
      Array.from(layer, (norm, f) => Math.abs((after[l]?.[f] ?? 0) / norm - 1)),
    );
    expect(Math.max(...change)).to.be.above(0.01);
  });

  it('reports terms that sum to the loss, with -eta log p as contribution', async () => {
    await trained({ eta: 0.4 }, (_, reports) => {
      for (const { loss, rec, contribution, filter, overlap, lambda, p } of reports) {
        expect(loss).to.be.closeTo(total([...rec, contribution, ...filter, ...overlap]), 1e-9);
        expect(contribution).to.be.closeTo(-0.4 * Math.log(p), 1e-5);
        expect([rec, filter, overlap, lambda].map((l) => l.length)).to.deep.equal([2, 2, 2, 2]);
        expect(Math.min(...lambda), 'lambda').to.be.above(0);
        expect(Math.max(...filter), 'minus a mutual information').to.be.at.most(0);
        expect(Math.min(...overlap), 'a mutual information').to.be.at.least(0);
      }
      expect(reports[0]?.p, 'p at the start').to.be.closeTo(0.5, 1e-6);
    });
  });

  it('descends the overlap of the filters when its weight is large', async () => {
    await trained({ diversity: 1000, lr: 1e-2 }, (_, reports) => {
      const of = ({ overlap, lambda }: StepReport): number[] =>
        overlap.map((value, l) => value / (lambda[l] ?? NaN));
      const [first, last] = [reports[0], reports.at(-1)].map((report) => report && of(report));
      first?.forEach((value, l) => expect(last?.[l]).to.be.below(value));
      expect(first).to.have.length(2);
    });
  });

  it('weighs the reconstruction by lambda and divides by the power of the target', async () => {
    const plain = await trained({}, (_, [first]) => first?.rec ?? [], { steps: 1 });
    const given = { lambdaRec: [2, 0.5] };
    const weighed = await trained(given, (_, [first]) => first?.rec ?? [], { steps: 1 });
    expect((weighed[0] ?? NaN) / (plain[0] ?? NaN)).to.be.closeTo(2, 1e-5);
    expect((weighed[1] ?? NaN) / (plain[1] ?? NaN)).to.be.closeTo(0.5, 1e-5);
  });

  it('raises p the more the larger eta is', async () => {
    const shares: number[] = [];
    for (const eta of [0, 0.3, 3]) {
      shares.push(await trained({ eta }, (_, reports) => reports.at(-1)?.p ?? NaN));
    }
    const [none = NaN, some = NaN, much = NaN] = shares;
    expect(some, shares.join()).to.be.above(none + 0.01);
    expect(much, shares.join()).to.be.above(some + 0.01);
  });

  it('gives the same bits for one seed, others for another', async () => {
    const run = (seed: number): Promise<Record<string, TensorData>> =>
      trained({ seed }, (trainer) => trainer.state(), { steps: 5 });
    const [a, again, b] = [await run(1), await run(1), await run(2)];
    const differing = (one: typeof a, two: typeof a): string[] =>
      Object.keys(one).filter((name) => !sameBits(one[name], two[name]));
    expect(differing(a, again)).to.deep.equal([]);
    expect(differing(a, b)).to.include('fc_dec_2.weight');
  });

  it('goes on with the same bits from its state', async () => {
    const after = await trained({}, (trainer) => trainer.state(), { steps: 6 });
    const half = await trained({}, (trainer) => trainer.state(), { steps: 3 });
    const other = await trainerOf({ seed: 9 });
    await other.restore(half);
    for (let step = 3; step < 6; step++) await other.step(batchOf(step), step);
    const found = await other.state();
    other.dispose();
    const differing = Object.keys(after).filter((name) => !sameBits(after[name], found[name]));
    expect(differing).to.deep.equal([]);
  });

  it('refuses a state that lacks a parameter, or is of another size', async () => {
    const trainer = await trainerOf();
    const state = await trainer.state();
    const { 'fc_dec_1.bias': bias, ...rest } = state;
    await failure('E_FILE', /lacks fc_dec_1\.bias/, () => trainer.restore(rest));
    const short = { ...state, 'fc_dec_1.bias': (bias ?? new Float32Array(1)).slice(1) };
    await failure('E_SHAPE', /fc_dec_1\.bias/, () => trainer.restore(short));
    trainer.dispose();
  });

  it('stops at a loss that is not finite, naming step, term and layer', async () => {
    const trainer = await trainerOf();
    await trainer.step(batchOf(0), 0);
    const { targets, ...rest } = batchOf(1);
    const wrong = targets.map((target, l) => (l === 1 ? target.map(() => Infinity) : target));
    const error = await failure(
      'E_STATE',
      /step 2: the reconstruction loss of fc2 is Infinity/,
      () => trainer.step({ ...rest, targets: wrong }, 1),
    );
    expect(error.details).to.deep.equal({ step: 1, term: 'reconstruction loss of fc2' });
    trainer.dispose();
  });
});
