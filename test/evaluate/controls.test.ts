import { join } from 'node:path';
import { expect } from 'chai';
import { smoothedPerformer, untrainedExplainer } from '../../lib/evaluate/controls/computed.js';
import { SmoothedEnergy } from '../../lib/evaluate/controls/energy.js';
import { evaluationJson } from '../../lib/evaluate/evaluation_json.js';
import { gridOf } from '../../lib/evaluate/filter_scores.js';
import type { MapSource } from '../../lib/evaluate/map_source.js';
import { controls as positions } from '../../lib/evaluate/metrics/index.js';
import type { Explainer } from '../../lib/explainer.js';
import { initialWeights } from '../../lib/explainer/initial.js';
import type { Performer } from '../../lib/performer/index.js';
import { Random } from '../../lib/random.js';
import { temporaryFolder } from '../data/temporary.js';
import { C, N, tinyPerformer, withExplainer, writeTiny, type Tiny } from '../explainer/tiny.js';
import { failure } from '../support/performer.js';

const CELLS = N * N;
const D = 7;
const DEVICE = { backend: 'cpu', threads: 1, precision: 'fp32', accuracy: 'direct' } as const;

function features(count: number, seed: number): Float32Array {
  const random = new Random(seed, 'features');
  return Float32Array.from({ length: count * C * CELLS }, () => Math.max(0, random.normal()));
}

/** Mean over 5x5 cells, 0 outside of the map. */
function smoothed(map: readonly number[]): number[] {
  return map.map((_, i) => {
    let sum = 0;
    for (let dy = -2; dy <= 2; dy++) {
      for (let dx = -2; dx <= 2; dx++) {
        const [y, x] = [Math.floor(i / N) + dy, (i % N) + dx];
        if (y >= 0 && y < N && x >= 0 && x < N) sum += map[y * N + x] ?? NaN;
      }
    }
    return sum / 25;
  });
}

/** relu(k x k convolution without bias, zeros around) of maps (channels, N, N). */
function convolved(maps: readonly number[][], w: Float32Array, k = 3): number[][] {
  const channels = maps.length;
  const pad = (k - 1) / 2;
  return Array.from({ length: D }, (_, o) =>
    Array.from({ length: CELLS }, (__, i) => {
      let sum = 0;
      for (let c = 0; c < channels; c++) {
        for (let tap = 0; tap < k * k; tap++) {
          const y = Math.floor(i / N) + Math.floor(tap / k) - pad;
          const x = (i % N) + (tap % k) - pad;
          if (y < 0 || y >= N || x < 0 || x >= N) continue;
          sum += (maps[c]?.[y * N + x] ?? NaN) * (w[(o * channels + c) * k * k + tap] ?? NaN);
        }
      }
      return Math.max(0, sum);
    }),
  );
}

/** x max(1 - beta |[i, j] - mu|_1 / N, 0). */
function masked(map: readonly number[], beta: number): number[] {
  const mu = map.indexOf(Math.max(...map));
  return map.map((value, i) => {
    const rows = Math.abs(Math.floor(i / N) - Math.floor(mu / N));
    const columns = Math.abs((i % N) - (mu % N));
    return value * Math.max(0, 1 - (beta * (rows + columns)) / N);
  });
}

function expectMaps(found: Float32Array, wanted: readonly number[]): void {
  expect(found).to.have.length(wanted.length);
  const largest = Math.max(...wanted.map(Math.abs));
  wanted.forEach((value, i) => expect(found[i]).to.be.closeTo(value, 2e-6 * largest));
}

describe('evaluate: controls', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  let performer: Performer;

  beforeEach(async () => {
    tiny = await writeTiny(folder(), { count: 24 });
    performer = await tinyPerformer(tiny.model);
  });
  afterEach(() => performer.dispose());

  const use = <T>(work: (explainer: Explainer) => Promise<T>): Promise<T> =>
    withExplainer(
      {
        ...{ performer, images: tiny.images, out: join(folder(), 'run') },
        ...{ filters: D, seed: 5 },
      },
      work,
    );

  it('smoothed energy and smoothed performer are means over 5x5 cells', async () => {
    const count = 35;
    const given = features(count, 1);
    const cut = (n: number, c: number): number[] => {
      const start = (n * C + c) * CELLS;
      return [...given.subarray(start, start + CELLS)];
    };
    const energy = new SmoothedEnergy({ channels: C, height: N, width: N });
    const images = [...Array(count).keys()];
    const channels = [...Array(C).keys()];
    const norms = images.flatMap((n) => {
      const maps = channels.map((c) => cut(n, c));
      return smoothed(maps[0]!.map((_, i) => Math.hypot(...maps.map((map) => map[i] ?? NaN))));
    });
    expectMaps(await energy.maps(given, count), norms);
    await failure('E_SHAPE', /\[energy\] .* features/, () => energy.maps(given, 3));
    await use(async ({ config }) => {
      const source = await smoothedPerformer(config, DEVICE);
      const wanted = images.flatMap((n) => channels.flatMap((c) => smoothed(cut(n, c))));
      expectMaps(await source.maps(given, count), wanted);
      await failure('E_SHAPE', /\[performerSmoothed\] .* features/, () => source.maps(given, 3));
      source.dispose();
    });
  });

  it('the untrained explainer is the run before its first step', async () => {
    await use(async (explainer) => {
      const { config } = explainer;
      const source = await untrainedExplainer(config, DEVICE);
      expect(source.filters).to.equal(D);
      const given = features(2, 2);
      const found = await source.maps(given, 2);
      const type = (shape: number[]) =>
        ({ shape, dtype: 'f32', layout: 'conv_weight', chw: undefined }) as const;
      const weights = await initialWeights(
        new Map([
          ['conv_interp_0.weight', type([C, C, 1, 1])],
          ['conv_interp_1.weight', type([D, C, 7, 7])],
          ['conv_interp_2.weight', type([D, D, 3, 3])],
        ]),
        { seed: 5 },
      );
      const wanted = [0, 1].flatMap((n) => {
        const image = [...given.subarray(n * C * CELLS, (n + 1) * C * CELLS)];
        const norm = Math.sqrt(image.reduce((sum, x) => sum + x * x, 0) / image.length);
        const factor = config.options.imageNorm! / norm; // one norm a photograph, whatever the scale
        const maps = Array.from({ length: C }, (_, c) =>
          image.slice(c * CELLS, (c + 1) * CELLS).map((value) => value * factor),
        );
        const along = Array.from({ length: C }, (_, k) =>
          Array.from({ length: CELLS }, (__, i) =>
            maps.reduce((sum, map, c) => {
              return sum + (map[i] ?? NaN) * (weights['conv_interp_0.weight']![k * C + c] ?? NaN);
            }, 0),
          ),
        );
        const first = convolved(along, weights['conv_interp_1.weight']!, 7);
        const behind = first.map((map) => masked(map, config.options.beta));
        return convolved(behind, weights['conv_interp_2.weight']!).flat();
      });
      expectMaps(found, wanted);
      const trained = (await explainer.maps(given, 2)).layer2;
      expect(Math.max(...trained.map((x, i) => Math.abs(x - (found[i] ?? 0))))).to.be.above(1e-3);
      source.dispose();
      await failure('E_STATE', /dispose|session/i, () => source.maps(given, 2));
    });
  });

  it('positions have the numbers of metrics.controls, and a fixed one R2 exactly 0', async () => {
    await use(async (explainer) => {
      const { landmarks } = tiny;
      const { controls, annotations } = (await explainer.evaluate({ landmarks })).instability!;
      const wanted = positions({ annotations, grid: gridOf(performer) }, { seed: 5 });
      for (const name of ['fixedPositionBest', 'fixedPositionCentre', 'random'] as const) {
        expect(controls[name].value, name).to.be.closeTo(wanted[name], 1e-12);
      }
      for (const name of ['fixedPositionBest', 'fixedPositionCentre'] as const) {
        expect(controls[name].r2).to.deep.include({ mean: 0, distinctMean: 0, above: 0 });
        expect(controls[name].r2.distinct).to.equal(annotations.categories.length);
        expect(controls[name].vector.value).to.be.above(0.05);
      }
      expect(controls.random.r2.mean).to.be.below(0);
      expect(controls.energy.perFilter).to.have.length(1);
    });
  });

  it('scores what it is given as its own sets: the performer again has its scores', async () => {
    const again: MapSource = {
      ...{ name: 'again', filters: C },
      maps: (given) => Promise.resolve(given),
    };
    const energy = new SmoothedEnergy({ channels: C, height: N, width: N });
    const mine: MapSource = {
      ...{ name: 'mine', filters: 1 },
      maps: (given, count) => energy.maps(given, count),
    };
    await use(async (explainer) => {
      const evaluation = await explainer.evaluate({
        landmarks: tiny.landmarks,
        sources: [again, mine],
        noise: 0.3,
      });
      const { performer: own, controls, sources } = evaluation.instability!;
      expect(sources['again']).to.deep.equal(own);
      expect(sources['mine']).to.deep.equal(controls.energy);
      expect(own.allCategoryRatio).to.deep.equal({ distance: 1, vector: 1 });
      expect(controls.energy.noise?.value).to.be.within(0, 1);
      const json = evaluationJson(evaluation) as Record<string, Record<string, unknown>>;
      expect(Object.keys(json['sources']!)).to.deep.equal(['again', 'mine']);
      expect(json['sources']!['again']).to.deep.equal(json['performer']);
    });
  });

  it('takes only the peaks of the photographs that are scored', async () => {
    await use(async (explainer) => {
      const options = { landmarks: tiny.landmarks, split: 'validation' } as const;
      const { controls, layer2 } = (await explainer.evaluate(options)).instability!;
      expect(controls.untrained.peaks.images).to.equal(layer2.peaks.images);
      expect(controls.untrained.peaks.images).to.equal(4);
    });
  });

  it('refuses names that are taken, and maps of another size', async () => {
    await use(async (explainer) => {
      const { landmarks } = tiny;
      const source = (name: string, values: number): MapSource => {
        return { name, filters: 2, maps: () => Promise.resolve(new Float32Array(values)) };
      };
      for (const names of [['energy'], ['layer2'], ['a', 'a']]) {
        const sources = names.map((name) => source(name, 1));
        await failure('E_ARGUMENT', /other names for sources/, () =>
          explainer.evaluate({ landmarks, sources }),
        );
      }
      await failure('E_SHAPE', /values for maps of few/, () =>
        explainer.evaluate({ landmarks, sources: [source('few', 5)] }),
      );
    });
  });
});
