import { join } from 'node:path';
import { expect } from 'chai';
import { evaluationJson } from '../../lib/evaluate/evaluation_json.js';
import type { Explainer } from '../../lib/explainer.js';
import type { TrainExplainerOptions } from '../../lib/explainer/train.js';
import type { Performer } from '../../lib/performer/index.js';
import { temporaryFolder } from '../data/temporary.js';
import { tinyPerformer, withExplainer, writeTiny, type Tiny } from '../explainer/tiny.js';
import { failure } from '../support/performer.js';

describe('evaluate: what goes through each track', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  let performer: Performer;

  beforeEach(async () => {
    tiny = await writeTiny(folder(), { count: 24 });
    performer = await tinyPerformer(tiny.model);
  });
  afterEach(() => performer.dispose());

  const use = <T>(
    options: Partial<TrainExplainerOptions>,
    work: (explainer: Explainer) => Promise<T>,
  ): Promise<T> => {
    const common = { performer, images: tiny.images, out: join(folder(), 'run'), filters: 7 };
    return withExplainer({ ...common, ...options }, work);
  };

  it('with the decoder own it is the later layers of the performer that answer', async () => {
    await use({}, async (explainer) => {
      const { head, tracks } = await explainer.evaluate({ occlusion: 0 });
      expect(tracks.images).to.equal(4);
      expect(tracks.agreement.full).to.equal(head.agreement);
      const { head: again, ...json } = evaluationJson(await explainer.evaluate());
      expect(again).to.have.property('agreement', head.agreement);
      expect(json['agreement']).to.deep.equal(tracks.agreement);
      expect(json['logits']).to.deep.equal({ mae: head.mae, halfL1: head.halfL1 });
    });
  });

  it('checks contributions on as many photographs as are wanted', async () => {
    await use({}, async (explainer) => {
      const check = async (occlusion: number) =>
        (await explainer.evaluate({ occlusion })).occlusion;
      expect(await check(0)).to.equal(undefined);
      expect((await check(2))?.images).to.equal(2);
      await failure('E_ARGUMENT', /integer >= 0 for occlusion but received 1\.5/, () => check(1.5));
    });
  });

  it('a run of the ordinary track alone has no parts: share 0, no occlusion check', async () => {
    await use({ tracks: 'ordinary' }, async (explainer) => {
      const { tracks, occlusion } = await explainer.evaluate();
      expect(occlusion).to.equal(undefined);
      expect(tracks).to.include({ share: 0 });
      expect(tracks.agreement.full).to.equal(tracks.agreement.ordinary);
      expect([0, NaN]).to.include(tracks.swap);
    });
  });
});
