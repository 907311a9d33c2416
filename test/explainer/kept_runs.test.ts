import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { loadExplainer } from '../../lib/explainer.js';
import type { TrainExplainerOptions } from '../../lib/explainer/train.js';
import type { Performer } from '../../lib/performer/index.js';
import { temporaryFolder } from '../data/temporary.js';
import { failure } from '../support/performer.js';
import { tinyPerformer, withExplainer, writePhotographs, writeTiny, traces } from './tiny.js';

/**
 * Run folders as each version wrote them, with their model: stopped at step 3 of 4, without their features. A
 * version that changes what is written adds its own; none is ever written anew.
 */
const KEPT = fileURLToPath(new URL('kept_runs/', import.meta.url));
/** What they were trained with. */
const OPTIONS = { epochs: 4, filters: 2, appearance: 4, ordinaryChannels: 0, mirror: false };

describe('explainer: run folders of other versions', () => {
  const folder = temporaryFolder();
  let performer: Performer | undefined;
  afterEach(() => performer?.dispose());

  const change = async (run: string, changes: object): Promise<void> => {
    const path = join(run, 'config.json');
    const config = JSON.parse(await readFile(path, 'utf8')) as object;
    await writeFile(path, JSON.stringify({ ...config, ...changes }));
  };

  it('kept ones are opened, and go on to their end', async function () {
    const versions = await readdir(KEPT).catch(() => []);
    if (versions.length === 0) {
      console.log('      skipped: the kept run folders are not here');
      this.skip();
    }
    const images = await writePhotographs(join(folder(), 'photos'), 12);
    for (const version of versions) {
      const run = join(folder(), version);
      await cp(join(KEPT, version), run, { recursive: true });
      performer?.dispose();
      performer = await tinyPerformer(join(run, 'tiny.onnx'));
      const explainer = await loadExplainer(run, { performer, backend: 'cpu', threads: 1 });
      expect(explainer.step, version).to.equal(3);
      const { layer } = await performer.features(new Float32Array(3 * 16 * 16).fill(0.5), 1);
      const { layer2 } = await explainer.maps(layer, 1);
      expect([...layer2].every(Number.isFinite), version).to.equal(true);
      explainer.dispose();
      const warnings: string[] = [];
      const onWarning = (text: string): void => {
        if (!text.startsWith('The CNN names the class')) warnings.push(text);
      };
      const resumed = { performer, images, out: run, resume: true, onWarning, ...OPTIONS };
      await withExplainer(resumed, ({ step }) => expect(step, version).to.equal(4));
      expect(warnings).to.deep.equal([]);
      const config = await readFile(join(run, 'config.json'), 'utf8');
      const written = JSON.parse(config) as { options: object };
      expect(written).to.include({ partlens: version });
      expect(written.options, 'its own defaults, not those of now').not.to.have.property('context');
    }
  });

  describe('made now', () => {
    let options: TrainExplainerOptions;
    let run = '';
    beforeEach(async () => {
      const tiny = await writeTiny(folder());
      performer = await tinyPerformer(tiny.model);
      run = join(folder(), 'run');
      options = { performer, images: tiny.images, out: run };
    });
    /** A run that is stopped behind its first checkpoint. */
    const stopped = async (): Promise<void> => {
      const controller = new AbortController();
      const onProgress = (progress: { phase: string; step?: number }): void => {
        if ((progress.step ?? 0) >= 4) controller.abort();
      };
      const { signal } = controller;
      await failure('E_STATE', /stopped/, () =>
        withExplainer({ ...options, signal, onProgress }, () => undefined),
      );
    };

    it('by another version of the package: resumed to the same bits', async () => {
      await stopped();
      await change(run, { partlens: '0.0.7' });
      await withExplainer({ ...options, resume: true }, () => undefined);
      const out = join(folder(), 'other');
      await withExplainer({ ...options, out }, () => undefined);
      expect(await traces(run)).to.deep.equal(await traces(out));
    });

    it('in an older or newer format: a clear word, and nothing is changed', async () => {
      await stopped();
      const before = await traces(run);
      for (const [format, word] of [
        [1, 'an older'],
        [99, 'a newer'],
      ] as const) {
        await change(run, { format, partlens: '7.8.9' });
        const config = await readFile(join(run, 'config.json'), 'utf8');
        const message = new RegExp(
          `written by ${word} partlens 7\\.8\\.9, in format ${String(format)} .*; this one reads format 2\\.`,
        );
        await failure('E_FILE', message, () =>
          withExplainer({ ...options, resume: true }, () => undefined),
        );
        await failure('E_FILE', message, () => loadExplainer(run));
        expect(await readFile(join(run, 'config.json'), 'utf8')).to.equal(config);
      }
      expect(await traces(run)).to.deep.equal(before);
    });
  });
});
