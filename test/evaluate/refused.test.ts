import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadExplainer } from '../../lib/explainer.js';
import { temporaryFolder } from '../data/temporary.js';
import { tinyPerformer, withExplainer, writeTiny } from '../explainer/tiny.js';
import { failure } from '../support/performer.js';

describe('explainer: what it refuses', () => {
  const folder = temporaryFolder();

  it('a run that is damaged or of another model is refused', async () => {
    const tiny = await writeTiny(folder(), { count: 24 });
    const performer = await tinyPerformer(tiny.model);
    const run = join(folder(), 'run');
    const options = { performer, images: tiny.images, out: run, decoder: 'learned' } as const;
    await withExplainer(options, async (explainer) => {
      await failure('E_ARGUMENT', /landmarks for noise/, () => explainer.evaluate({ noise: 0.1 }));
      await failure('E_ARGUMENT', /> 0 for noise but received -1/, () =>
        explainer.evaluate({ noise: -1, landmarks: tiny.landmarks }),
      );
      await failure('E_ARGUMENT', /one of all, train, validation for split/, () =>
        explainer.evaluate({ split: 'test' as 'train' }),
      );
      await failure('E_SHAPE', /features/, () => explainer.maps(new Float32Array(7), 1));
    });
    await failure('E_FILE', /holds no run/, () => loadExplainer(join(folder(), 'none')));
    const config = join(run, 'config.json');
    const text = await readFile(config, 'utf8');
    await writeFile(config, text.replace('"kernel": 3', '"kernel": 4'));
    const damaged = /config\.json is damaged: .*\.\ntrain --resume/;
    await failure('E_FILE', damaged, () => loadExplainer(run));
    await writeFile(config, text.slice(0, -10));
    await failure('E_FILE', damaged, () => loadExplainer(run));
    await writeFile(config, text.replace(performer.fingerprint, '0'.repeat(64)));
    await failure('E_STATE', /not the model/, () => loadExplainer(run, { performer }));
    await writeFile(config, text);
    const other = await tinyPerformer(tiny.model, { targets: ['fc1_relu'] });
    await failure('E_STATE', /not cut at the layers/, () =>
      loadExplainer(run, { performer: other }),
    );
    other.dispose();
    await rm(join(run, 'checkpoints'), { recursive: true });
    await failure('E_FILE', /holds no checkpoint.*\n.*--resume/, () => loadExplainer(run));
    performer.dispose();
  });
});
