import { expect } from 'chai';
import { buildTrainingGraph, overlapWeights } from '../../lib/explainer/loss.js';
import { buildNetwork } from '../../lib/explainer/network.js';
import type { TrainOptionsInput } from '../../lib/explainer/options.js';
import { gradient, type Seed } from '../../lib/engine/grad.js';
import type { Graph } from '../../lib/engine/graph.js';
import { filterLoss, mean, meanSquare, overlap } from '../../lib/engine/ops/index.js';
import { hyperParameters } from '../../lib/engine/optimizer/index.js';
import { createSession } from '../../lib/engine/session.js';
import type { Arrays } from '../support/engine.js';
import { BATCH, batchOf, optionsOf, POWER, SPEC, trainerOf } from './network_cases.js';

const LAYERS = [1, 2] as const;
const WEIGHTS = ['conv_interp_1.weight', 'conv_interp_1.bias', 'conv_interp_2.weight'];

/**
 * Each term of the loss back-propagated alone: `rec@a1`, `rec@a2`, `filter1@a1`, `filter2@a2`,
 * `filter2@a1` (through the second layer), and `<term>@<weight>`; and the values `rec.0`, ...,
 * `filter1.0` and, unless its weight is 0, `filter1.1`, the overlap that goes with the filter loss.
 */
function separateTerms(given: TrainOptionsInput): Graph {
  const options = optionsOf(given);
  const { graph, a1, a2, h } = buildNetwork(SPEC, options, { batch: BATCH, mode: 'train' });
  const { scale, beta, kappa, normMomentum: momentum, normFloor: floor } = options;
  const rec = h.map((value, l) => {
    const target = graph.input(`target_${String(l + 1)}`, value.shape);
    return meanSquare(value, target, { weight: 1 / (POWER[l] ?? 1) });
  });
  const filters = [a1, a2].map((a, l): Seed[] => {
    const peak = graph.state(`filter_loss_${String(l + 1)}.peak`, [SPEC.filters], { fill: -1 });
    const of = mean(filterLoss(a, peak, { scale, beta, kappa, momentum, floor }));
    const weight = options.diversity * (l === 0 ? options.diversityFirst : 1);
    if (weight === 0) return [{ of }];
    return [{ of }, { of: overlap(a), gradient: graph.constant(weight) }];
  });
  const terms: Record<string, Seed[]> = {
    rec: rec.map((of) => ({ of })),
    filter1: filters[0] ?? [],
    filter2: filters[1] ?? [],
  };
  const weights = graph.parameters().filter(({ node }) => WEIGHTS.includes(node.name));
  for (const [name, seeds] of Object.entries(terms)) {
    seeds.forEach(({ of }, i) => graph.output(`${name}.${String(i)}`, of));
    const wrt = [a1, a2, ...weights];
    const places = ['a1', 'a2', ...weights.map(({ node }) => node.name)];
    gradient(seeds, wrt).forEach((value, i) => {
      if (value) graph.output(`${name}@${places[i] ?? ''}`, value);
    });
  }
  return graph;
}

/** Outputs of one run of a graph with the weights of a fresh trainer, on batch 1. */
async function outputsOf(graph: Graph, given: TrainOptionsInput): Promise<Arrays> {
  const trainer = await trainerOf(given);
  const state = await trainer.state();
  trainer.dispose();
  const session = await createSession({ programs: { main: graph }, backend: 'cpu', threads: 1 });
  try {
    const held = Object.entries(state).filter(([name]) => session.persistent().has(name));
    await session.write(Object.fromEntries(held));
    const { features, targets } = batchOf(1);
    const weights = overlapWeights(optionsOf(given), 0);
    const inputs: Arrays = { features, hyper: hyperParameters(1e-3, 0), ...weights };
    targets.forEach((target, l) => (inputs[`target_${String(l + 1)}`] = target));
    const taken = [...session.program('main').inputs.keys()];
    const known = Object.entries(inputs).filter(([name]) => taken.includes(name));
    const fetch = [...graph.outputs.keys()];
    return await session.run('main', { inputs: Object.fromEntries(known), fetch });
  } finally {
    session.dispose();
  }
}

function trainingGraph(given: TrainOptionsInput): Graph {
  const options = optionsOf(given);
  const built = buildTrainingGraph(SPEC, options, { batch: BATCH, targetPower: POWER });
  for (const name of WEIGHTS) {
    const value = built.gradients.get(name);
    if (value) built.graph.output(`grad ${name}`, value);
  }
  return built.graph;
}

const norm = (values: ArrayLike<number> = []): number =>
  Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0));

const sum = (parts: readonly (readonly [number, ArrayLike<number> | undefined])[]): number[] =>
  Array.from(parts[0]?.[1] ?? [], (_, i) =>
    parts.reduce((total, [factor, values]) => total + factor * (values?.[i] ?? 0), 0),
  );

function expectNear(found: ArrayLike<number> = [], wanted: readonly number[], name: string): void {
  const difference = norm(wanted.map((x, i) => x - (found[i] ?? NaN)));
  expect(found.length, name).to.equal(wanted.length);
  expect(difference / norm(wanted), name).to.be.below(1e-5);
}

describe('explainer: weight of the overlap', () => {
  const at = (done: number, given: TrainOptionsInput): Record<string, number | undefined> =>
    Object.fromEntries(
      Object.entries(overlapWeights(optionsOf(given), done)).map(([name, [x]]) => [name, x]),
    );

  it('falls linearly, on the second layer alone unless the first has a share', () => {
    const second = { diversity: 8, diversityFirst: 0, diversityEnd: 0 };
    expect(at(0, second)).to.deep.equal({ diversity_2: 8 });
    expect(at(0.5, second)).to.deep.equal({ diversity_2: 4 });
    expect(at(1, second)).to.deep.equal({ diversity_2: 0 });
    const both = { diversity: 8, diversityFirst: 0.25, diversityEnd: 0.5 };
    expect(at(0, both)).to.deep.equal({ diversity_1: 2, diversity_2: 8 });
    expect(at(1, both)).to.deep.equal({ diversity_1: 1, diversity_2: 4 });
  });

  it('is multiplied by a fixed weight of the filter loss; nothing where it is 0', () => {
    const fixed = { diversity: 8, diversityFirst: 0, lambdaFilter: 0.5 };
    expect(at(0, fixed)).to.deep.equal({ diversity_2: 4 });
    expect(at(0, { diversity: 0 })).to.deep.equal({});
    expect(at(0, { lambdaFilter: 0 })).to.deep.equal({});
    expect(at(0, { rho: 0 })).to.deep.equal({});
  });
});

describe('explainer: balanced filter loss', () => {
  for (const given of [
    { rho: 3, diversity: 0 },
    { rho: 0.5, diversity: 0 },
    { rho: 3, diversity: 5 },
    { rho: 3, diversity: 5, diversityFirst: 0 },
  ]) {
    const { rho, diversity, diversityFirst = 1 } = given;
    const shares = `diversity ${diversity}, of the first layer ${diversityFirst * diversity}`;
    it(`weighs each layer by ${rho} |dL_rec/da| / |dF/da|, ${shares}`, async () => {
      const alone = await outputsOf(separateTerms(given), given);
      const got = await outputsOf(trainingGraph(given), given);
      for (const l of LAYERS) {
        const direct = norm(alone[`filter${l}@a${l}`]);
        const lambda = got[`lambda_${l}`]?.[0] ?? NaN;
        const wanted = (rho * norm(alone[`rec@a${l}`])) / direct;
        expect(lambda / wanted, `layer ${l}`).to.be.closeTo(1, 1e-5);
        expect(got[`filter_${l}`]?.[0]).to.be.closeTo(alone[`filter${l}.0`]?.[0] ?? NaN, 1e-6);
        expect(got[`overlap_${l}`]?.[0]).to.equal(alone[`filter${l}.1`]?.[0]);
        const weight = diversity * (l === 1 ? diversityFirst : 1);
        expect(got[`overlap_${l}`] === undefined).to.equal(weight === 0);
      }
      const mixed = sum([
        [1, alone['rec@a1']],
        [got['lambda_2']?.[0] ?? NaN, alone['filter2@a1']],
      ]);
      const wrong = (rho * norm(mixed)) / norm(alone['filter1@a1']);
      const right = got['lambda_1']?.[0] ?? NaN;
      expect(Math.abs(wrong / right - 1), 'the second filter loss would show').to.be.above(0.01);
    });
  }

  it('descends the sum of all terms, the weights as constants', async () => {
    const alone = await outputsOf(separateTerms({}), {});
    const got = await outputsOf(trainingGraph({}), {});
    for (const name of WEIGHTS) {
      const wanted = sum([
        [1, alone[`rec@${name}`]],
        ...LAYERS.map(
          (l) => [got[`lambda_${l}`]?.[0] ?? NaN, alone[`filter${l}@${name}`]] as const,
        ),
      ]);
      expectNear(got[`grad ${name}`], wanted, name);
    }
  });

  it('with a fixed weight takes that for both layers', async () => {
    const given = { lambdaFilter: 0.7 };
    const alone = await outputsOf(separateTerms(given), given);
    const got = await outputsOf(trainingGraph(given), given);
    expect([got['lambda_1']?.[0], got['lambda_2']?.[0]].map((x) => x?.toFixed(6))).to.deep.equal([
      '0.700000',
      '0.700000',
    ]);
    for (const name of WEIGHTS) {
      const terms = LAYERS.map((l) => [0.7, alone[`filter${l}@${name}`]] as const);
      expectNear(got[`grad ${name}`], sum([[1, alone[`rec@${name}`]], ...terms]), name);
    }
  });

  for (const given of [{ lambdaFilter: 0 }, { rho: 0 }] as const) {
    it(`with ${JSON.stringify(given)} the reconstruction descends alone`, async () => {
      const alone = await outputsOf(separateTerms(given), given);
      const got = await outputsOf(trainingGraph(given), given);
      expect(Object.keys(got).filter((name) => /^(filter|overlap)_/.test(name))).to.deep.equal([]);
      for (const name of WEIGHTS) {
        expectNear(got[`grad ${name}`], sum([[1, alone[`rec@${name}`]]]), name);
      }
    });
  }
});
