import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { readMetrics } from '../../lib/explainer/metrics_log.js';
import { readRunConfig } from '../../lib/explainer/run_folder.js';
import type { TrainExplainerOptions, TrainProgress } from '../../lib/explainer/train.js';
import type { Performer } from '../../lib/performer/index.js';
import { names, smallDisk, temporaryFolder } from '../data/temporary.js';
import { failure } from '../support/performer.js';
import { tinyPerformer, traces, withExplainer, writeTiny, type Tiny } from './tiny.js';

const STEPS = 8;

/** Leaves the explainer at once: what counts is what the run folder holds. */
async function train(options: TrainExplainerOptions): Promise<void> {
  await withExplainer(options, () => undefined);
}

describe('explainer: training runs', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  let performer: Performer;
  let base: TrainExplainerOptions;
  const run = (name: string): string => join(folder(), name);

  beforeEach(async () => {
    tiny = await writeTiny(folder());
    performer = await tinyPerformer(tiny.model);
    base = { performer, images: tiny.images, out: run('a') };
  });
  afterEach(() => performer.dispose());

  it('writes config, features, two checkpoints and one line for each step', async () => {
    const seen: TrainProgress[] = [];
    await withExplainer({ ...base, onProgress: (progress) => seen.push(progress) }, (explainer) => {
      expect(explainer).to.include({ step: STEPS, run: run('a') });
      expect(explainer.summary).to.deep.equal({ used: 20, skipped: [] });
      expect(explainer.p).to.be.within(0.1, 0.9);
    });
    const found = await names(run('a'));
    expect(found).to.deep.equal(['checkpoints', 'config.json', 'features', 'metrics.jsonl']);
    const kept = ['step-00000006.safetensors', 'step-00000008.safetensors'];
    expect(await names(join(run('a'), 'checkpoints'))).to.deep.equal(kept);
    const metrics = await readMetrics(run('a'));
    expect(metrics.map(({ step }) => step)).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7]);
    const { images, batch, steps, network } = await readRunConfig(run('a'));
    expect([images.train.length, images.validation.length]).to.deep.equal([17, 3]);
    expect({ batch, steps, filters: network.filters }).to.deep.equal({
      batch: 8,
      steps: STEPS,
      filters: 6,
    });
    expect(seen[0]).to.deep.include({ phase: 'features', total: 20 });
    const last = seen.at(-1);
    expect(last).to.deep.include({ phase: 'train', step: STEPS, steps: STEPS, secondsLeft: 0 });
  });

  it('gives the same bits for one seed, whatever the threads, and others for another', async () => {
    await train(base);
    const expected = await traces(run('a'));
    await train({ ...base, out: run('b'), threads: 2 });
    expect(await traces(run('b'))).to.deep.equal(expected);
    await train({ ...base, out: run('c'), seed: 2 });
    const { metrics } = await traces(run('c'));
    expect(metrics).not.to.equal(expected.metrics);
    const splits = await Promise.all([run('a'), run('c')].map(readRunConfig));
    expect(splits[0]?.images.validation).not.to.deep.equal(splits[1]?.images.validation);
  });

  it('stops at a loss that is not finite and keeps the last good checkpoint', async () => {
    const wild = { ...base, lr: 1e30, checkpointEvery: 1 };
    const error = await failure(
      'E_STATE',
      /step \d+: the .* (loss|share) .* is (NaN|-?Infinity)/,
      () => train(wild),
    );
    expect(error.details).to.have.all.keys('step', 'term');
    const kept = await names(join(run('a'), 'checkpoints'));
    expect(kept.at(-1)).to.equal(`step-0000000${String(error.details['step'])}.safetensors`);
    const logged = await readMetrics(run('a'));
    expect(logged.every(({ loss }) => Number.isFinite(loss))).to.equal(true);
  });

  it('a full disk leaves the last checkpoint whole and nothing half-written', async () => {
    await train({ ...base, out: run('whole') });
    const size = (await readFile(join(run('whole'), 'checkpoints/step-00000008.safetensors')))
      .length;
    const checkpoints = join(run('a'), 'checkpoints');
    await mkdir(checkpoints, { recursive: true });
    await cp(join(run('whole'), 'features'), join(run('a'), 'features'), { recursive: true });
    const undo = await smallDisk(checkpoints, Math.ceil((1.5 * size) / 1024));
    let saved: Buffer;
    try {
      const error = await failure('E_FILE', /ENOSPC/, () => train(base));
      expect(error.message).to.include('step-00000006');
      expect(await names(checkpoints)).to.deep.equal(['step-00000003.safetensors']);
      saved = await readFile(join(checkpoints, 'step-00000003.safetensors'));
    } finally {
      undo();
    }
    await writeFile(join(checkpoints, 'step-00000003.safetensors'), saved);
    await train({ ...base, resume: true });
    expect(await traces(run('a'))).to.deep.equal(await traces(run('whole')));
  });

  it('a full disk while features are stored leaves no shard behind', async () => {
    const features = join(run('a'), 'features');
    await mkdir(features, { recursive: true });
    const undo = await smallDisk(features, 32);
    try {
      await failure('E_FILE', /ENOSPC/, () => train(base));
      const left = await names(features);
      expect(left.filter((name) => /tmp|shard/.test(name))).to.deep.equal([]);
    } finally {
      undo();
    }
    await train(base);
  });

  it('a run folder that cannot be written is an E_FILE', async () => {
    await mkdir(join(run('a'), 'metrics.jsonl'), { recursive: true }); // cannot be written either
    await failure('E_FILE', /metrics\.jsonl/, () => train(base));
    await writeFile(run('file'), '');
    await failure('E_FILE', /file/, () => train({ ...base, out: run('file') }));
  });
});

describe('explainer: what it is trained on', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  let performer: Performer;

  beforeEach(async () => {
    tiny = await writeTiny(folder(), { count: 5 });
    performer = await tinyPerformer(tiny.model);
  });
  afterEach(() => performer.dispose());

  const start = (options: Partial<TrainExplainerOptions>): Promise<void> =>
    train({ performer, images: tiny.images, out: join(folder(), 'run'), epochs: 1, ...options });

  it('a batch larger than the data becomes all of it', async () => {
    await start({ batch: 1000 });
    const { batch, steps } = await readRunConfig(join(folder(), 'run'));
    expect([batch, steps]).to.deep.equal([8, 1]); // 4 photographs and their mirrored copies
  });

  it('images that cannot be used are named and counted', async () => {
    await writeFile(join(tiny.images, 'dark', 'broken.jpg'), 'no image');
    await writeFile(join(tiny.images, 'dark', 'empty.png'), '');
    const warnings: string[] = [];
    const options = { performer, images: tiny.images, out: join(folder(), 'run'), epochs: 1 };
    const onWarning = (text: string): number => warnings.push(text);
    await withExplainer({ ...options, onWarning }, ({ summary }) => {
      expect(summary?.used).to.equal(5);
      expect(summary?.skipped.map(({ file }) => file)).to.deep.equal([
        'dark/broken.jpg',
        'dark/empty.png',
      ]);
    });
    const skipped = warnings.filter((text) => text.includes('is skipped'));
    expect(skipped).to.have.length(2);
  });

  it('one photograph, none, no folder: clear errors', async () => {
    const one = join(folder(), 'one');
    await mkdir(one);
    await cp(join(tiny.images, 'bright', '000.png'), join(one, 'a.png'));
    await failure('E_ARGUMENT', /at least two usable photographs for images but received 1/, () =>
      start({ images: one }),
    );
    const none = join(folder(), 'none');
    await mkdir(none);
    await failure('E_FILE', /at least one usable image .* for .*none/, () =>
      start({ images: none }),
    );
    await writeFile(join(none, 'broken.png'), 'no image');
    await failure('E_FILE', /at least one usable .*\nbroken\.png: /, () => start({ images: none }));
    await failure('E_FILE', /ENOENT/, () => start({ images: join(folder(), 'gone') }));
    await failure('E_ARGUMENT', /one of bright, dark for classes/, () => start({ classes: ['x'] }));
  });

  it('options are checked before anything is written', async () => {
    const wrong: [Partial<TrainExplainerOptions>, RegExp][] = [
      [{ rho: -1 }, /for rho but received -1/],
      [{ kernel: 4 }, /an odd number for kernel but received 4/],
      [{ lambdaRec: [1, -2] }, /lambdaRec/],
      [{ lambdaRec: [1, 2, 3] }, /one number, or 2, one for each target, for lambdaRec/],
      [{ beta1: 1 }, /a number < 1 for beta1 but received 1/],
      [{ classes: [] }, /at least one name for classes/],
      [
        { classes: 'dark' as unknown as string[] },
        /a list of names for classes but received "dark"/,
      ],
      [{ images: undefined as unknown as string }, /text for images/],
      [{ performer: undefined as unknown as Performer }, /what loadPerformer gives for performer/],
      [{ scale: 'other' as 'paper' }, /for scale but received "other"/],
      [{ batch: 1 }, /for batch but received 1/],
      [{ seed: 1.5 }, /for seed but received 1\.5/],
      [{ lr: NaN }, /for lr but received NaN/],
      [{ alpha: 1 }, /for alpha but received 1/],
    ];
    for (const [options, message] of wrong) {
      await failure('E_ARGUMENT', message, () => start(options));
    }
    expect(await names(folder())).not.to.include('run');
  });
});
