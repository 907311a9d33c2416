import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import type { PartlensError } from '../../lib/errors.js';
import type { TrainExplainerOptions } from '../../lib/explainer/train.js';
import type { Performer } from '../../lib/performer/index.js';
import { hasSystemCode } from '../../lib/data/file_error.js';
import { names, smallDisk, temporaryFolder } from '../data/temporary.js';
import { failure } from '../support/performer.js';
import { tinyPerformer, traces, withExplainer, writeTiny, type Tiny } from './tiny.js';

describe('explainer: a run folder that goes away', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  let performer: Performer;
  let base: TrainExplainerOptions;
  const run = (name: string): string => join(folder(), name);
  const train = (options: TrainExplainerOptions): Promise<void> =>
    withExplainer(options, () => undefined);

  beforeEach(async () => {
    tiny = await writeTiny(folder());
    performer = await tinyPerformer(tiny.model);
    base = { performer, images: tiny.images };
  });
  afterEach(() => performer.dispose());

  /** Trains in run `a`; behind step 4 `harm` comes over the folder. */
  async function harmed(
    harm: (run: string) => Promise<unknown>,
    message: RegExp,
    more: Partial<TrainExplainerOptions> = {},
  ): Promise<PartlensError> {
    let done: Promise<unknown> | undefined;
    const isDue = (step: number): boolean => step === 4;
    const onMaps = async (): Promise<void> => {
      await (done ??= harm(run('a')));
    };
    const options = { ...base, ...more, out: run('a'), watch: { isDue, onMaps } };
    return failure('E_FILE', message, () => train(options));
  }

  /** What was kept goes on to the bits of a run that nothing happened to. */
  async function goesOn({ details }: PartlensError, more = {}): Promise<void> {
    const rescued = String(details['rescued']);
    expect(await names(rescued)).to.include.members([
      'checkpoints',
      'config.json',
      'metrics.jsonl',
    ]);
    await train({ ...base, ...more, out: rescued, resume: true });
    await train({ ...base, ...more, out: run('b') });
    expect(await traces(rescued)).to.deep.equal(await traces(run('b')));
  }

  const gone =
    /removed or replaced while it was trained in\.\nThe state of step \d is kept in (.*)\.\nGo on with --resume --out \1\.$/;

  it('removed: the state is kept beside it, and goes on to the same bits', async () => {
    const error = await harmed((path) => rm(path, { recursive: true }), gone);
    expect(error.details['rescued']).to.match(new RegExp(`^${run('a-rescued-')}`));
    expect(await names(folder())).not.to.include('a');
    await goesOn(error);
  });

  it('replaced by another: as well, and the other one is left as it is', async () => {
    const error = await harmed(async (path) => {
      await rename(path, run('moved'));
      await mkdir(path);
    }, gone);
    expect(await names(run('a'))).to.deep.equal([]);
    await goesOn(error);
  });

  it('emptied: as well', async () => {
    const empty = async (path: string): Promise<void> => {
      for (const name of await names(path)) await rm(join(path, name), { recursive: true });
    };
    await goesOn(await harmed(empty, gone));
  });

  it('is noticed after a minute where nothing is written', async () => {
    const now = performance.now.bind(performance);
    let ahead = 0;
    performance.now = () => now() + ahead;
    try {
      const quiet = { logEvery: 1000, checkpointEvery: 1000, epochs: 4 };
      const harm = async (path: string): Promise<void> => {
        await rm(path, { recursive: true });
        ahead = 61_000;
      };
      const error = await harmed(harm, gone, quiet);
      expect(error.details['step']).to.be.below(8);
    } finally {
      performance.now = now;
    }
  });

  it('cannot be written to: the state is kept elsewhere, older checkpoints stay', async () => {
    const block = async (path: string): Promise<void> => {
      await rename(join(path, 'checkpoints'), join(path, 'before'));
      await writeFile(join(path, 'checkpoints'), '');
    };
    const error = await harmed(block, /ENOTDIR.*\nThe state of step 6 is kept in/);
    await goesOn(error);
    expect(await names(join(run('a'), 'before'))).to.deep.equal(['step-00000003.safetensors']);
  });

  it('on a disk that is full: the state is kept elsewhere', async function () {
    await mkdir(run('a'));
    const undo = await smallDisk(run('a'), 8192);
    const { dev } = await stat(run('a'));
    if (dev === (await stat(folder())).dev) {
      undo();
      console.log('      skipped: no file system can be mounted');
      this.skip();
    }
    try {
      const fill = async (path: string): Promise<void> => {
        for (let i = 0, size = 2 ** 16; size > 0; i++) {
          await writeFile(join(path, `x${String(i)}`), new Uint8Array(size)).catch(
            (error: unknown) => {
              if (!hasSystemCode(error, 'ENOSPC')) throw error;
              size = Math.floor(size / 16);
            },
          );
        }
      };
      const error = await harmed(fill, /ENOSPC.*\nThe state of step \d is kept in/);
      expect(await names(join(run('a'), 'checkpoints'))).to.deep.equal([
        'step-00000003.safetensors',
      ]);
      await goesOn(error);
    } finally {
      undo();
    }
  });

  it('where nothing can be kept: a clear word that it is gone', async () => {
    const deep = join(folder(), 'deep');
    const before = process.env['TMPDIR'];
    const out = join(deep, 'a');
    try {
      const onMaps = async (): Promise<void> => {
        await rm(deep, { recursive: true });
        process.env['TMPDIR'] = join(folder(), 'none');
      };
      const watch = { isDue: (step: number) => step === 4, onMaps };
      const lost =
        /removed or replaced.*\nThe state of step \d is lost: Cannot write.*\nNo checkpoint of this run is left\.$/;
      await failure('E_FILE', lost, () => train({ ...base, out, watch }));
    } finally {
      if (before === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = before;
    }
  });
});
