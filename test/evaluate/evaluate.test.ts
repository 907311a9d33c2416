import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import type { SplitName } from '../../lib/evaluate/evaluate.js';
import { evaluationJson } from '../../lib/evaluate/evaluation_json.js';
import { CONTROLS, gridOf, type FilterScores } from '../../lib/evaluate/filter_scores.js';
import { loadExplainer, type Explainer } from '../../lib/explainer.js';
import {
  allCategories,
  categoryTable,
  consistency,
  filtersPerCategory,
  partMetrics,
  r2,
  vectorInstability,
  type InstabilityInput,
} from '../../lib/evaluate/metrics/index.js';
import { verdictOf } from '../../lib/evaluate/verdict.js';
import type { Performer } from '../../lib/performer/index.js';
import { temporaryFolder } from '../data/temporary.js';
import { failure } from '../support/performer.js';
import {
  C,
  CLASSES,
  FC2,
  N,
  SIDE,
  tinyPerformer,
  withExplainer,
  writeTiny,
} from '../explainer/tiny.js';
import type { Tiny } from '../explainer/tiny.js';
import { CELLS, PARTS, photographs, type Photograph } from './photographs.js';
import { trackJsonOf } from './track_reference.js';

const mean = (values: readonly number[]): number =>
  values.reduce((sum, x) => sum + x, 0) / values.length;

function deviation(values: readonly number[]): number {
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, x) => sum + (x - centre) ** 2, 0) / (values.length - 1));
}

/** Parts of a class that at least two photographs show. */
function partsOf(all: readonly Photograph[], name: string | undefined): number[] {
  return [...PARTS.keys()].filter(
    (p) => all.filter(({ className, parts }) => className === name && parts[p]).length >= 2,
  );
}

/** DESIGN 1.3 for set `m` of the maps; fewer than 100 photographs, so all of them count. */
function instability(all: readonly Photograph[], m: number, performer: Performer): number {
  const { stride, firstCentre } = performer.layer.geometry;
  const filters = (all[0]?.maps[m]?.length ?? 0) / CELLS;
  const classes = CLASSES.filter((name) => partsOf(all, name).length > 0);
  const values: number[] = [];
  for (let f = 0; f < filters; f++) {
    const peak = (one: Photograph): number[] => {
      const map = [...(one.maps[m] ?? [])].slice(f * CELLS, (f + 1) * CELLS);
      const value = Math.max(...map);
      const cell = map.indexOf(value);
      const y = firstCentre[0] + stride[0] * Math.floor(cell / N);
      return [value, y, firstCentre[1] + stride[1] * (cell % N)];
    };
    const of = (name: string): Photograph[] => all.filter(({ className }) => className === name);
    const activation = classes.map((name) => mean(of(name).map((one) => peak(one)[0] ?? 0)));
    if (Math.max(...activation) <= 0) continue;
    const best = classes[activation.indexOf(Math.max(...activation))] ?? '';
    const scores = partsOf(all, best).map((p) =>
      deviation(
        of(best).flatMap((one) => {
          const at = one.parts[p];
          const [, y = NaN, x = NaN] = peak(one);
          return at ? [Math.hypot(y - at[0], x - at[1]) / (SIDE * Math.SQRT2)] : [];
        }),
      ),
    );
    values.push(mean(scores));
  }
  return mean(values);
}

function relative(pairs: readonly (readonly [Float32Array, Float32Array])[]): number {
  let [difference, norm] = [0, 0];
  for (const [h, x] of pairs) {
    x.forEach((value, i) => (difference += ((h[i] ?? NaN) - value) ** 2));
    x.forEach((value) => (norm += value * value));
  }
  return Math.sqrt(difference / norm);
}

/** Shares and divergence of the head on rebuilt features. */
async function headOf(kept: readonly Photograph[], performer: Performer): Promise<object> {
  const rows: { agree: number; own: number; other: number; kl: number }[] = [];
  for (const { output, rebuilt, className } of kept) {
    const other = await performer.head(rebuilt.at(-1) ?? new Float32Array(FC2), 1);
    const probabilities = (z: Float32Array): number[] => {
      const exp = Array.from(z, (value) => Math.exp(value));
      const total = exp.reduce((sum, value) => sum + value, 0);
      return exp.map((value) => value / total);
    };
    const [p, q] = [probabilities(output), probabilities(other)];
    const first = (list: number[]): number => list.indexOf(Math.max(...list));
    const label = CLASSES.findIndex((name) => name === className);
    rows.push({
      agree: Number(first(p) === first(q)),
      own: Number(first(p) !== label),
      other: Number(first(q) !== label),
      kl: p.reduce((sum, value, k) => sum + value * Math.log(value / (q[k] ?? NaN)), 0),
    });
  }
  return {
    agreement: mean(rows.map(({ agree }) => agree)),
    correlation: null, // for outputs of one number
    performerError: mean(rows.map(({ own }) => own)),
    explainerError: mean(rows.map(({ other }) => other)),
    kl: mean(rows.map(({ kl }) => kl)),
  };
}

/** Deep equality with numbers to 1e-5, relative. */
function expectNear(found: unknown, wanted: unknown, path = 'json'): void {
  if (typeof wanted === 'object' && wanted !== null && typeof found === 'object' && found) {
    expect(Object.keys(found), path).to.deep.equal(Object.keys(wanted));
    for (const [key, value] of Object.entries(wanted)) {
      expectNear((found as Record<string, unknown>)[key], value, `${path}.${key}`);
    }
  } else if (typeof wanted === 'number') {
    expect(found, path).to.be.closeTo(wanted, 1e-5 * Math.abs(wanted) + 1e-7);
  } else expect(found, path).to.equal(wanted);
}

describe('explainer: evaluate', () => {
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
        ...{ filters: 7, decoder: 'learned' },
      },
      work,
    );

  for (const split of [undefined, 'all', 'train', 'validation'] as const) {
    it(`split ${split ?? 'by default'}: agrees with the definitions, key by key`, async () => {
      await use(async (explainer) => {
        const everything = await photographs(tiny, explainer);
        const { train, validation } = explainer.config.images;
        const side: Record<SplitName, string[]> = {
          all: [...train, ...validation],
          train,
          validation,
        };
        const scored = everything.filter(({ path }) => side[split ?? 'all'].includes(path));
        const kept = everything.filter(({ path }) => validation.includes(path));
        const keptPaths = kept.map(({ path }) => path);
        expect([everything.length, kept.length]).to.deep.equal([24, 4]);
        const evaluation = await explainer.evaluate({ landmarks: tiny.landmarks, split });
        const json = evaluationJson(evaluation);
        const dead = (m: number): number =>
          Array.from({ length: 7 }, (_, f) =>
            Number(
              !scored.some(({ maps }) =>
                maps[m]?.subarray(f * CELLS, (f + 1) * CELLS).some((x) => x > 0),
              ),
            ),
          ).reduce((sum, x) => sum + x, 0);
        const rebuilt = (l: number): number =>
          relative(
            kept.map((one) => [
              one.rebuilt[l] ?? new Float32Array(0),
              one.targets[l] ?? new Float32Array(0),
            ]),
          );
        const { controls } = json as { controls: Record<string, object> };
        expect(Object.keys(controls)).to.deep.equal(CONTROLS);
        const { layer1, layer2, performer: own, annotations } = evaluation.instability!;
        const inputOf = ({ peaks }: FilterScores): InstabilityInput => {
          return { peaks, annotations, grid: gridOf(performer) };
        };
        const base = allCategories(categoryTable(inputOf(own)));
        const parts = (m: number, scores: FilterScores): object => {
          const input = inputOf(scores);
          const { purity, covered, duplicates, duplicateOf } = partMetrics(input);
          const table = categoryTable(input);
          const follows = r2(table, { duplicateOf });
          const { mean: all, distinctMean, distinct, above } = follows;
          return {
            locationInstability: instability(scored, m, performer),
            vectorInstability: vectorInstability(table).value,
            r2: { mean: all, distinctMean, distinct, above },
            allCategoryRatio: allCategories(table).distance / base.distance,
            allCategoryVectorRatio: allCategories(table).vector / base.vector,
            filtersPerCategory: filtersPerCategory(table, follows),
            purity,
            consistency: consistency(input).value,
            noiseStability: null,
            covered,
            duplicates,
          };
        };
        const more = (set: string): object => ({
          follow: null,
          clusters: {
            ...Object.fromEntries(
              [4, 8, 16].map((count, i) => {
                const { nmi, ari, purity } = evaluation.clusters!.sets[set]![i]!;
                return [String(count), { nmi, ari, purity }];
              }),
            ),
            probe: (({ accuracy, nmi, ari }) => ({ accuracy, nmi, ari }))(
              evaluation.clusters!.probes[set]!,
            ),
          },
        });
        expect(evaluation.clusters).to.include({ from: 'landmarks', labels: 2 });
        for (const scores of Object.values(controls)) {
          expect(Object.keys(scores)).to.deep.equal(
            Object.keys({ ...parts(0, own), ...more('performer') }),
          );
        }
        const { verdict, ...numbers } = json;
        expect(Object.keys(json)[0], 'the verdict comes first').to.equal('verdict');
        expect(verdict).to.deep.equal(verdictOf(evaluation));
        expectNear(numbers, {
          performer: { ...parts(0, own), ...more('performer') },
          explainer: {
            ...{ ...parts(2, layer2), ...more('layer2') },
            layer1: { ...parts(1, layer1), ...more('layer1') },
          },
          controls,
          sources: {},
          baselines: {},
          p: explainer.p,
          ...(await trackJsonOf(explainer, tiny.images, keptPaths)),
          deadFilters: dead(2),
          reconstruction: { fc1_relu: rebuilt(0), fc2_relu: rebuilt(1) },
          head: await headOf(kept, performer),
          parts: partMetrics({ ...layer2, annotations, grid: gridOf(performer) }).landmarks,
          images: scored.filter(({ className, parts }) =>
            partsOf(scored, className).some((p) => parts[p]),
          ).length,
          landmarks: scored.flatMap(({ parts }) => parts).filter(Boolean).length,
        });
      });
    });
  }

  it('without landmarks has no location instability, and says so with null', async () => {
    await use(async (explainer) => {
      const json = evaluationJson(await explainer.evaluate());
      const nothing = {
        locationInstability: null,
        vectorInstability: null,
        r2: { mean: null, distinctMean: null, distinct: null, above: null },
        allCategoryRatio: null,
        allCategoryVectorRatio: null,
        filtersPerCategory: { distinct: {}, above: {}, served: null },
        purity: null,
        consistency: null,
        noiseStability: null,
        covered: [],
        duplicates: null,
        follow: null,
        clusters: null,
      };
      expect(json).to.deep.include({
        performer: nothing,
        explainer: { ...nothing, layer1: nothing },
        parts: [],
        controls: Object.fromEntries(CONTROLS.map((name) => [name, nothing])),
        sources: {},
        baselines: {},
        images: 0,
        landmarks: 0,
      });
      expect(JSON.stringify(json)).to.include('"agreement":').and.not.include('NaN');
      expect((json['reconstruction'] as Record<string, number>)['fc1_relu']).to.be.above(0);
    });
  });

  it('parts are stable against very little noise, less against much', async () => {
    await use(async (explainer) => {
      const stability = async (noise: number): Promise<(number | undefined)[]> => {
        const { instability } = await explainer.evaluate({ landmarks: tiny.landmarks, noise });
        const sets = [instability?.performer, instability?.layer1, instability?.layer2];
        return sets.map((set) => set?.noise?.value);
      };
      expect(await stability(1e-6)).to.deep.equal([1, 1, 1]);
      const much = await stability(4);
      for (const value of much) expect(value).to.be.within(0, 0.95);
      expect(await stability(4)).to.deep.equal(much);
    });
  });

  it('leaves out images without a row, and warns of rows without an image', async () => {
    const text = await readFile(tiny.landmarks, 'utf8');
    const [header = '', ...rows] = text.trim().split('\n');
    const some = rows.filter((row) => row.includes(',blob,')).slice(0, 10);
    const more = ['bright/none.png,bright,blob,1,1', `${some[0]?.split(',')[0]},bright,edge,99,1`];
    await writeFile(tiny.landmarks, [header, ...some, ...more].join('\n'));
    await use(async (explainer) => {
      const warnings: string[] = [];
      const onWarning = (line: string): number => warnings.push(line);
      const json = evaluationJson(
        await explainer.evaluate({ landmarks: tiny.landmarks, onWarning }),
      );
      expect(json).to.include({ images: 10, landmarks: 10 });
      expect(warnings.join('\n'))
        .to.match(/do not exist: bright\/none\.png/)
        .and.match(/outside of/);
    });
  });

  it('without class names has no error rates', async () => {
    const sidecar = tiny.model.replace('.onnx', '.json');
    const { classes, ...rest } = JSON.parse(await readFile(sidecar, 'utf8')) as {
      classes: unknown;
    };
    expect(classes).to.deep.equal(CLASSES);
    await writeFile(sidecar, JSON.stringify(rest));
    performer.dispose();
    performer = await tinyPerformer(tiny.model);
    await use(async (explainer) => {
      const { head } = evaluationJson(await explainer.evaluate()) as { head: object };
      expect(head).to.include({ performerError: null, explainerError: null });
    });
  });

  it('photographs that changed since the run are an error that loses nothing', async () => {
    await use(async (explainer) => {
      const first = evaluationJson(await explainer.evaluate());
      const picture = join(tiny.images, 'dark', '001.png');
      const bytes = await readFile(picture);
      await rm(picture);
      await failure('E_STATE', /photographs .* not those of .*\n.*features/, () =>
        explainer.evaluate(),
      );
      await writeFile(picture, bytes);
      expect(evaluationJson(await explainer.evaluate())).to.deep.equal(first);
      await rm(picture);
      await rm(join(explainer.run, 'features'), { recursive: true });
      expect(evaluationJson(await explainer.evaluate()).p).to.equal(first['p']);
    });
  });

  it('stops with E_STATE when its signal aborts', async () => {
    await use(async (explainer) => {
      const controller = new AbortController();
      controller.abort();
      const { signal } = controller;
      await failure('E_STATE', /evaluation was stopped/, () => explainer.evaluate({ signal }));
    });
  });

  it('a loaded explainer scores the same, to the bit', async () => {
    const options = { landmarks: tiny.landmarks };
    const first = await use(async (explainer) => evaluationJson(await explainer.evaluate(options)));
    const loaded = await loadExplainer(join(folder(), 'run'), { backend: 'cpu', threads: 2 });
    expect(evaluationJson(await loaded.evaluate(options))).to.deep.equal(first);
    loaded.dispose();
    await failure('E_STATE', /dispose|session/i, () => loaded.maps(new Float32Array(C * CELLS), 1));
  });
});
