import { join } from 'node:path';
import { expect } from 'chai';
import { openBaselines } from '../../../lib/evaluate/baselines/index.js';
import { BASELINES } from '../../../lib/evaluate/baselines/names.js';
import { evaluationJson } from '../../../lib/evaluate/evaluation_json.js';
import { showEvaluation } from '../../../lib/cli/evaluate.js';
import type { Explainer } from '../../../lib/explainer.js';
import type { Performer } from '../../../lib/performer/index.js';
import { temporaryFolder } from '../../data/temporary.js';
import { C, tinyPerformer, withExplainer, writeTiny, type Tiny } from '../../explainer/tiny.js';

type Json = Record<string, Record<string, number | null> & { code: Record<string, number> }>;

describe('evaluate: baselines', () => {
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
        ...{ filters: 7, seed: 5 },
      },
      work,
    );

  it('are scored as all other sets, and as codes through the later layers', async () => {
    await use(async (explainer) => {
      const fitted: string[] = [];
      const options = { landmarks: tiny.landmarks, baselines: true, occlusion: 0 };
      const onFit = (name: string): number => fitted.push(name);
      const evaluation = await explainer.evaluate({ ...options, onFit });
      expect(fitted).to.deep.equal(['pca', 'kmeans', 'nmf', 'sae']);
      const json = evaluationJson(evaluation) as { baselines: Json; performer: object };
      const { baselines } = json;
      expect(Object.keys(baselines)).to.deep.equal(BASELINES);
      for (const name of BASELINES) {
        const { code, ...scores } = baselines[name]!;
        expect(Object.keys(scores), name).to.deep.equal(Object.keys(json.performer));
        expect(scores['locationInstability'], name).to.be.within(0, 1);
        expect(Object.keys(code)).to.deep.equal(['agreement', 'kl', 'mae', 'halfL1', 'error']);
        expect(code['error'], name).to.be.within(0, 1);
      }
      // As many components as channels: nothing is lost.
      expect(evaluation.instability!.baselines.pca!.peaks.filters).to.equal(C);
      expect(baselines['pca']!.code).to.deep.include({ agreement: 1 });
      expect(baselines['pca']!.code['error']).to.be.below(1e-5);
      expect(baselines['pca']!.code['mae']).to.be.below(1e-4);
      expect(baselines['kmeansCosine']!.code['error']).to.be.above(1e-3);
      expect(evaluation.instability!.sources).to.deep.equal({});
      expect(showEvaluation(evaluation)).to.match(/baselines +error +agreement[^]*NMF +0\./);
      const again = evaluationJson(await explainer.evaluate(options)) as { baselines: Json };
      expect(again.baselines).to.deep.equal(baselines);
    });
  });

  it('without landmarks only the codes', async () => {
    await use(async (explainer) => {
      const evaluation = await explainer.evaluate({ baselines: true, occlusion: 0 });
      const { baselines } = evaluationJson(evaluation) as { baselines: Json };
      expect(baselines['nmf']!['locationInstability']).to.equal(null);
      expect(baselines['nmf']!.code['error']).to.be.within(0, 1);
    });
  });

  it('stop with the signal', async () => {
    await use(async (explainer) => {
      const signal = AbortSignal.abort();
      const error = await explainer.evaluate({ baselines: true, signal }).catch((e: unknown) => e);
      expect(error).to.have.property('code', 'E_STATE');
    });
  });

  it('without training photographs there are none', async () => {
    await use(async (explainer) => {
      const { sources } = await openBaselines(explainer, {} as never, { rows: [] });
      expect(sources).to.deep.equal([]);
    });
  });
});
