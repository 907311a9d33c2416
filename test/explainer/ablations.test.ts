import { join } from 'node:path';
import { expect } from 'chai';
import { readMetrics } from '../../lib/explainer/metrics_log.js';
import { trainExplainer } from '../../lib/explainer.js';
import type { TrainExplainerOptions } from '../../lib/explainer/train.js';
import { temporaryFolder } from '../data/temporary.js';
import { QUICK, tinyPerformer, writeTiny } from './tiny.js';

describe('explainer: ablations', () => {
  const folder = temporaryFolder();
  const cases: Record<string, Partial<TrainExplainerOptions>> = {
    'no masks': { mask: false },
    'no filter loss': { lambdaFilter: 0 },
    'fixed filter loss': { lambdaFilter: 0.1 },
    'no diversity': { diversity: 0 },
    'a balanced filter loss of no weight': { rho: 0 },
    'falling diversity': { diversityFirst: 0, diversityEnd: 0 },
    'no projection': { project: false },
    "the paper's scale": { scale: 'paper' },
    'kernel 5': { kernel: 5 },
    'kernel 1': { kernel: 1 },
    'more filters than channels': { filters: 9 },
    'fewer filters than channels': { filters: 3 },
    'identity filters': { initial: 'identity', filters: 8 },
    'k-means filters': { initial: 'kmeans' },
    'identity filters of all features': { initial: 'identity', contextChannels: 0 },
    'a wide context of few channels': { context: 9, contextChannels: 3 },
    'a context in the published form': { appearance: 0, context: 5, contextChannels: 2 },
    sgd: { optimizer: 'sgd', lr: 1e-2, weightDecay: 1e-3 },
    '16-bit features': { features: 'float16' },
    'no mirrored images': { mirror: false },
    'no validation images': { validation: 0 },
    'the ordinary track alone': { tracks: 'ordinary' },
    'a decoder of 3 x 3': { decoderKernel: 3 },
    'no divergence of the classes': { lambdaKl: 0 },
    'the published form behind the decoder own': { appearance: 0 },
    'appearance without masks': { mask: false, appearance: 4 },
    'appearance without competition': { competition: 0 },
    'appearance without balance': { balance: 0 },
    'appearance of photographs as they are': { imageNorm: 0 },
    'appearance without an ordinary track': { ordinaryChannels: 0 },
    'an ordinary track that is never left out': { ordinaryDropout: 0 },
    'narrow gates': { gateRadius: 2, gatePower: 2, gateFloor: 0.5 },
    'the decoder learned': { decoder: 'learned' },
    'the decoder learned, the ordinary track alone': { decoder: 'learned', tracks: 'ordinary' },
  };
  const targets: Record<string, [string[], boolean]> = {
    'one target': [['fc1_relu'], true],
    'one target further on': [['fc2_relu'], true],
    'three targets': [['fc1_relu', 'fc2_relu', 'fc3_relu'], true],
    'a target without ReLU': [['fc1_relu', 'fc2'], true],
    'the output as target': [['fc1_relu', 'logits'], true],
    'no pooling': [['fc1_relu', 'fc2_relu'], false],
  };

  async function twoSteps(
    given: Partial<TrainExplainerOptions>,
    names_: string[],
    pool: boolean,
  ): Promise<void> {
    const tiny = await writeTiny(folder(), { count: 12, pool });
    const performer = await tinyPerformer(tiny.model, { targets: names_ });
    try {
      const out = join(folder(), 'run');
      const options = { ...QUICK, epochs: 1, performer, images: tiny.images, out, ...given };
      const explainer = await trainExplainer(options);
      const site = performer.site.name;
      const rebuilt = given.decoder === 'learned' ? names_ : [site, ...names_];
      const metrics = await readMetrics(out);
      expect(metrics.length).to.be.at.least(1);
      for (const { loss, rec } of metrics) {
        expect(Number.isFinite(loss), `loss ${String(loss)}`).to.equal(true);
        expect(rec).to.have.length(rebuilt.length);
      }
      const { reconstruction, head } = await explainer.evaluate({ landmarks: tiny.landmarks });
      explainer.dispose();
      expect(Object.keys(reconstruction)).to.deep.equal(rebuilt);
      if (given.validation === 0) expect(head.images).to.equal(0);
      else expect(Object.values(reconstruction).every(Number.isFinite)).to.equal(true);
    } finally {
      performer.dispose();
    }
  }

  for (const [name, given] of Object.entries(cases)) {
    it(`${name}: trains with finite losses`, () => twoSteps(given, ['fc1_relu', 'fc2_relu'], true));
  }
  for (const [name, [list, pool]] of Object.entries(targets)) {
    for (const decoder of ['own', 'learned'] as const) {
      it(`${name}, decoder ${decoder}: trains with finite losses`, () =>
        twoSteps({ decoder }, list, pool));
    }
  }
});
