import { cp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import type { TrainExplainerOptions, TrainProgress } from '../../lib/explainer/train.js';
import type { Performer } from '../../lib/performer/index.js';
import { names, temporaryFolder } from '../data/temporary.js';
import { failure } from '../support/performer.js';
import { tinyPerformer, traces, withExplainer, writeTiny, type Tiny } from './tiny.js';

const STEPS = 8;

/** Leaves the explainer at once: what counts is what the run folder holds. */
async function train(options: TrainExplainerOptions): Promise<void> {
  await withExplainer(options, () => undefined);
}

/** Trains until `stop` says so, then expects the orderly end. */
async function interrupted(
  options: TrainExplainerOptions,
  stop: (progress: TrainProgress) => boolean,
): Promise<void> {
  const controller = new AbortController();
  const onProgress = (progress: TrainProgress): void => {
    if (stop(progress)) controller.abort();
  };
  const error = await failure('E_STATE', /stopped/, () =>
    train({ ...options, signal: controller.signal, onProgress }),
  );
  expect(error.details).to.include({ stopped: true });
}

const atStep =
  (step: number) =>
  (progress: TrainProgress): boolean =>
    progress.phase === 'train' && progress.step >= step;

describe('explainer: stopped and resumed runs', () => {
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

  // the step after the one that asks for the stop is under way by then, unless that kept a checkpoint
  for (const [step, kept] of [
    [1, 2],
    [3, 3],
    [4, 5],
    [6, 6],
  ]) {
    it(`stopped at step ${step} and resumed, ends with the bits of an unbroken run`, async () => {
      await train(base);
      const resumed = { ...base, out: run('b') };
      await interrupted(resumed, atStep(step ?? 0));
      expect((await names(join(run('b'), 'checkpoints'))).at(-1)).to.include(`-0000000${kept}.`);
      await train({ ...resumed, resume: true });
      expect(await traces(run('b'))).to.deep.equal(await traces(run('a')));
    });
  }

  it('killed behind a checkpoint and resumed, ends with the bits of an unbroken run', async () => {
    await train(base);
    const expected = await traces(run('a'));
    const log = join(run('a'), 'metrics.jsonl');
    await rm(join(run('a'), 'checkpoints', 'step-00000008.safetensors'));
    await writeFile(log, (await readFile(log, 'utf8')).slice(0, -40)); // a torn last line
    const torn = '.partlens-999999999-0a.tmp';
    await writeFile(join(run('a'), torn), 'half');
    await writeFile(join(run('a'), 'checkpoints', torn), 'half');
    await train({ ...base, resume: true });
    expect(await traces(run('a'))).to.deep.equal(expected);
    for (const place of [run('a'), join(run('a'), 'checkpoints')]) {
      expect(await names(place)).not.to.include(torn);
    }
  });

  it('a run that is complete gives its explainer when it is resumed', async () => {
    await train(base);
    const expected = await traces(run('a'));
    await withExplainer({ ...base, resume: true }, ({ step }) => expect(step).to.equal(STEPS));
    expect(await traces(run('a'))).to.deep.equal(expected);
  });

  it('stopped while it extracts features, goes on behind them', async () => {
    await train(base);
    const options = { ...base, out: run('b') };
    await interrupted(options, ({ phase }) => phase === 'features');
    const index = await readFile(join(run('b'), 'features', 'index.json'), 'utf8');
    expect(index).to.include('"complete": false').and.to.include('.png');
    const first: number[] = [];
    const onProgress = (progress: TrainProgress): void => {
      if (progress.phase === 'features') first.push(progress.done);
    };
    await train({ ...options, resume: true, onProgress });
    expect(first[0], 'images done at the first report').to.be.above(8);
    expect(await traces(run('b'))).to.deep.equal(await traces(run('a')));
  });

  it('passes over a damaged newest checkpoint, with a warning', async () => {
    await train(base);
    const expected = await traces(run('a'));
    await truncate(join(run('a'), 'checkpoints', 'step-00000008.safetensors'), 500);
    const warnings: string[] = [];
    await train({ ...base, resume: true, onWarning: (text) => warnings.push(text) });
    expect(warnings, 'the other: a random CNN knows few photographs').to.have.length(2);
    expect(warnings[1]).to.match(/step-00000008.*passed over/);
    expect(await traces(run('a'))).to.deep.equal(expected);
  });

  it('refuses a folder with a run unless it is resumed', async () => {
    await train(base);
    const before = await traces(run('a'));
    await failure('E_STATE', /holds a run already.\n.*--resume/, () => train(base));
    expect(await traces(run('a'))).to.deep.equal(before);
  });

  it('refuses a folder in which another training is; takes over what a killed one left', async () => {
    const path = join(run('a'), 'training.pid');
    let refused: Promise<unknown> | undefined;
    const onProgress = (): void => {
      refused ??= failure('E_STATE', /Process \d+ is training in .*\n.*--out/, () =>
        train({ ...base, resume: true }),
      );
    };
    await train({ ...base, onProgress });
    await refused;
    expect(refused).not.to.equal(undefined);
    expect(await names(run('a'))).not.to.include('training.pid');
    await writeFile(path, String(process.ppid)); // of a killed run, its number another process's now
    await train({ ...base, resume: true });
    expect(await names(run('a'))).not.to.include('training.pid');
    await writeFile(path, 'kept');
    await train({ ...base, resume: true, lock: false });
    expect(await readFile(path, 'utf8')).to.equal('kept');
  });

  it('refuses to resume with other options, model or images, and loses nothing', async () => {
    await interrupted(base, atStep(4));
    const before = await traces(run('a'));
    const shard = join(run('a'), 'features', 'shard-00000.safetensors');
    const features = await readFile(shard);
    const other = await tinyPerformer(tiny.model, { targets: ['fc1_relu'] });
    const fewer = join(folder(), 'fewer');
    await cp(join(tiny.images, 'dark'), fewer, { recursive: true });
    const changes: [Partial<TrainExplainerOptions>, RegExp][] = [
      [{ eta: 0.4 }, /with other options: eta 0\.3, not 0\.4\.\nResume it as/],
      [{ seed: 2, tau: 2 }, /options: tau by default, not 2; seed 1, not 2\./],
      [{ mirror: false }, /options: mirror true, not false\./],
      [{ features: 'float16' }, /options: features "float32", not "float16"\./],
      [{ performer: other }, /another model/],
      [{ classes: ['dark'] }, /or photographs/],
      [{ images: fewer }, /or photographs/],
    ];
    for (const [change, message] of changes) {
      const resumed = { ...base, ...change, resume: true };
      await failure('E_STATE', message, () => train(resumed));
      expect(await traces(run('a'))).to.deep.equal(before);
      expect((await readFile(shard)).equals(features), JSON.stringify(change)).to.equal(true);
    }
    other.dispose();
    await train({ ...base, resume: true });
  });
});
