import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { readSafetensors, writeSafetensors } from '../../lib/data/index.js';
import type { TensorToStore } from '../../lib/data/safetensors.js';
import { loadExplainer } from '../../lib/explainer.js';
import { listCheckpoints } from '../../lib/explainer/checkpoint.js';
import type { TrainExplainerOptions } from '../../lib/explainer/train.js';
import type { Performer } from '../../lib/performer/index.js';
import { temporaryFolder } from '../data/temporary.js';
import { failure } from '../support/performer.js';
import { tinyPerformer, traces, withExplainer, writeTiny } from './tiny.js';

/** Changes a file as a bad disk or a bad copy would. */
type Damage = (path: string) => Promise<void>;

/** Rewrites a file with other tensors; `sums` false: as 0.1.0 wrote it, without checksums. */
async function rewrite(
  path: string,
  change: (tensors: Record<string, TensorToStore>) => Record<string, TensorToStore>,
  { sums = true } = {},
): Promise<void> {
  const { tensors, metadata } = await readSafetensors(path);
  const { step = '', fingerprint = '' } = metadata;
  const old = metadata['step'] === undefined ? { fingerprint } : { step, fingerprint };
  await writeSafetensors(path, change(tensors), sums ? metadata : old);
}

const without =
  (dropped: string) =>
  (tensors: Record<string, TensorToStore>): Record<string, TensorToStore> =>
    Object.fromEntries(Object.entries(tensors).filter(([name]) => name !== dropped));

const changed =
  (name: string, change: (data: Float32Array) => void) =>
  (tensors: Record<string, TensorToStore>): Record<string, TensorToStore> => {
    const data = tensors[name]?.data;
    if (!(data instanceof Float32Array)) throw new Error(`no ${name}`);
    change(data);
    return tensors;
  };

const reshaped =
  (name: string, shape: (before: readonly number[]) => number[]) =>
  (tensors: Record<string, TensorToStore>): Record<string, TensorToStore> => {
    const found = tensors[name];
    if (!found) throw new Error(`no ${name}`);
    return { ...tensors, [name]: { ...found, shape: shape(found.shape) } };
  };

/** Flips the lowest bit of a byte, counted from the end. */
async function flip(path: string, fromEnd: number): Promise<void> {
  const bytes = await readFile(path);
  const at = bytes.length - fromEnd;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

async function replaceText(path: string, from: RegExp, to: string): Promise<void> {
  const text = (await readFile(path)).toString('latin1');
  if (!from.test(text)) throw new Error('nothing to replace');
  await writeFile(path, Buffer.from(text.replace(from, to), 'latin1'));
}

describe('explainer: damaged files of a run', () => {
  const folder = temporaryFolder();
  let performer: Performer;
  let options: TrainExplainerOptions;
  let run = '';

  beforeEach(async () => {
    const { model, images } = await writeTiny(folder());
    performer = await tinyPerformer(model);
    run = join(folder(), 'run');
    options = { performer, images, out: run };
    await withExplainer(options, () => undefined);
  });
  afterEach(() => performer.dispose());

  const load = async (onWarning?: (text: string) => void): Promise<number> => {
    const explainer = await loadExplainer(run, {
      ...{ performer, backend: 'cpu', threads: 1 },
      ...(onWarning ? { onWarning } : {}),
    });
    const { step } = explainer;
    explainer.dispose();
    return step;
  };

  const decoder = 'conv_dec.weight';
  const nan = (data: Float32Array): void => void (data[0] = NaN);
  const checkpointDamages: [string, Damage, RegExp][] = [
    ['a tensor is missing', (path) => rewrite(path, without(decoder)), /lacks conv_dec\.weight/],
    [
      'a tensor is missing, no checksums',
      (path) => rewrite(path, without(decoder), { sums: false }),
      /lacks conv_dec\.weight/,
    ],
    ['NaN', (path) => rewrite(path, changed('mix.w_p', nan)), /mix\.w_p is not as it was written/],
    [
      'NaN, no checksums',
      (path) => rewrite(path, changed('mix.w_p', nan), { sums: false }),
      /mix\.w_p holds NaN/,
    ],
    [
      'axes reversed',
      (path) =>
        rewrite(
          path,
          reshaped(decoder, (shape) => [...shape].reverse()),
        ),
      /conv_dec\.weight is not as it was written/,
    ],
    [
      'axes reversed, no checksums',
      (path) =>
        rewrite(
          path,
          reshaped(decoder, (shape) => [...shape].reverse()),
          { sums: false },
        ),
      /conv_dec\.weight is F32 \(1, 1, \d+, \d+\), not F32 \(\d+, \d+, 1, 1\)/,
    ],
    ['a bit of a value flipped', (path) => flip(path, 9), /is not as it was written/],
    [
      'a bit of its fingerprint flipped',
      (path) => replaceText(path, /"fingerprint":"./, '"fingerprint":"x'),
      /its header is not as it was written/,
    ],
    [
      'of another step',
      async (path) => cp((await listCheckpoints(run))[0]?.path ?? '', path),
      /it is of step 6/,
    ],
  ];

  it('checkpoints: what is damaged is told, and the older one is taken', async () => {
    const [older, newest] = await listCheckpoints(run);
    const good = await readFile(newest?.path ?? '');
    for (const [what, damage, message] of checkpointDamages) {
      await damage(newest?.path ?? '');
      const warnings: string[] = [];
      expect(await load((text) => warnings.push(text)), what).to.equal(older?.step);
      expect(warnings, what).to.have.length(1);
      expect(warnings[0], what).to.match(message);
      await writeFile(newest?.path ?? '', good);
    }
    expect(await load()).to.equal(newest?.step);
  });

  it('checkpoints: resumed from the older one, to the same bits', async () => {
    const expected = await traces(run);
    const { path = '' } = (await listCheckpoints(run)).at(-1) ?? {};
    await rewrite(path, without(decoder));
    const warnings: string[] = [];
    const onWarning = (text: string): void => void warnings.push(text);
    await withExplainer({ ...options, resume: true, onWarning }, () => undefined);
    expect(warnings.join()).to.match(/step-00000008.*lacks conv_dec\.weight/);
    expect(await traces(run)).to.deep.equal(expected);
  });

  it('checkpoints: none that is sound is E_FILE with the reason', async () => {
    for (const { path } of await listCheckpoints(run)) await rewrite(path, without(decoder));
    await failure(
      'E_FILE',
      /no checkpoint that can be read: .*step-00000008.*lacks conv_dec/,
      load,
    );
  });

  const layer = 'layer';
  const featureDamages: [string, Damage, RegExp][] = [
    [
      'NaN',
      (path) =>
        rewrite(
          path,
          changed(layer, (data) => data.fill(NaN)),
        ),
      /layer holds NaN/,
    ],
    [
      'NaN, no checksums',
      (path) =>
        rewrite(
          path,
          changed(layer, (data) => data.fill(NaN)),
          { sums: false },
        ),
      /layer holds NaN/,
    ],
    [
      '1e38',
      (path) =>
        rewrite(
          path,
          changed(layer, (data) => data.fill(1e38)),
        ),
      /layer is not as it was written/,
    ],
    [
      '1e38, no checksums',
      (path) =>
        rewrite(
          path,
          changed(layer, (data) => data.fill(1e38)),
          { sums: false },
        ),
      /are not those that the run began with/,
    ],
    ['a bit flipped', (path) => flip(path, 5), /is not as it was written/],
  ];

  it('features: damage is E_FILE and says how to extract them again', async () => {
    const shard = join(run, 'features', 'shard-00000.safetensors');
    const good = await readFile(shard);
    for (const [what, damage, message] of featureDamages) {
      await damage(shard);
      const error = await failure('E_FILE', message, () =>
        withExplainer({ ...options, resume: true }, () => undefined),
      );
      expect(error.message, what).to.match(/\nRemove .*features to extract/);
      await writeFile(shard, good);
    }
    await withExplainer({ ...options, resume: true }, () => undefined);
  });

  it('features of 16 bits: infinity is found', async () => {
    const out = join(folder(), 'half');
    const half = { ...options, out, features: 'float16' } as const;
    await withExplainer(half, () => undefined);
    const shard = join(out, 'features', 'shard-00000.safetensors');
    const change = (tensors: Record<string, TensorToStore>): Record<string, TensorToStore> => {
      const data = tensors[layer]?.data;
      if (!(data instanceof Uint16Array)) throw new Error('no 16-bit floats');
      data[3] = 0xfc00;
      return tensors;
    };
    await rewrite(shard, change, { sums: false });
    await failure('E_FILE', /layer holds -Infinity/, () =>
      withExplainer({ ...half, resume: true }, () => undefined),
    );
  });
});
