import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { unzipSync } from 'fflate';
import { listImages, readImage, readSafetensors } from '../../lib/data/index.js';
import { extractValues } from '../../lib/index.js';
import { names, temporaryFolder } from '../data/temporary.js';
import { C, N, OUT, tinyPerformer, writeTiny, type Tiny } from '../explainer/tiny.js';
import { readNpz } from '../support/npz_read.js';
import { failure } from '../support/performer.js';

const CPU = { backend: 'cpu', threads: 1 } as const;
const VALUES = ['logits', 'conv2_relu'];

describe('export: values of a model', () => {
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder(), name);
  let tiny: Tiny;
  beforeEach(async () => {
    tiny = await writeTiny(folder(), { count: 7 });
    // the third of the list cannot be used: rows behind it move up
    await writeFile(join(tiny.images, 'bright', '003.png'), 'garbage');
  });
  const extract = (out: string, more: object = {}) =>
    extractValues(tiny.model, {
      values: VALUES,
      images: [tiny.images],
      out: at(out),
      batch: 3,
      ...CPU,
      ...more,
    });

  /** Paths and the performer's own values, photograph by photograph. */
  async function wanted(): Promise<{ paths: string[]; layer: number[]; output: number[] }> {
    const { root, images } = await listImages(tiny.images);
    const found = { paths: [] as string[], layer: [] as number[], output: [] as number[] };
    using performer = await tinyPerformer(tiny.model);
    for (const { path, file } of images) {
      if (path === 'bright/003.png') continue;
      const { pixels } = await readImage(file, performer.preprocessing);
      const { layer, output } = await performer.features(pixels, 1);
      found.paths.push(`${root}/${path}`);
      found.layer.push(...layer);
      found.output.push(...output);
    }
    return found;
  }

  it('the same in both formats: rows in the order of the files, those that cannot be used left out', async () => {
    const { paths, layer, output } = await wanted();
    const told: string[] = [];
    const progress: number[] = [];
    const done = await extract('a.npz', {
      onWarning: (text: string) => told.push(text),
      onProgress: (count: number, total: number) => progress.push(count, total),
    });
    const shapes = [
      { name: 'logits', shape: [7, OUT] },
      { name: 'conv2_relu', shape: [7, C, N, N] },
    ];
    expect(done).to.deep.include({ path: at('a.npz'), images: 7, values: shapes });
    expect(done.skipped.map(({ file }) => file)).to.deep.equal([`${tiny.images}/bright/003.png`]);
    expect(told.join()).to.match(/bright\/003\.png is skipped/);
    expect(progress).to.deep.equal([4, 8, 7, 8, 8, 8]);
    const npz = readNpz(at('a.npz'), VALUES);
    const listed = Buffer.from(unzipSync(await readFile(at('a.npz')))['images.npy'] ?? []);
    const text = listed.subarray(128).toString('latin1').replaceAll('\0', '');
    expect(text.endsWith(paths.join(''))).to.equal(true);
    await extract('a.safetensors');
    const { tensors, metadata } = await readSafetensors(at('a.safetensors'));
    expect(JSON.parse(metadata['images'] ?? '')).to.deep.equal(paths);
    expect(JSON.parse(metadata['preprocessing'] ?? '')).to.deep.include({ size: 16 });
    expect(metadata['performer']).to.match(/^[0-9a-f]{64}$/);
    for (const [i, data] of [output, layer].entries()) {
      const { name, shape } = shapes[i]!;
      expect(npz[name]?.dims).to.deep.equal(shape);
      expect(tensors[name]?.shape).to.deep.equal(shape);
      expect([...(npz[name]?.data ?? [])]).to.deep.equal(data);
      expect([...((tensors[name]?.data as Float32Array | undefined) ?? [])]).to.deep.equal(data);
    }
  });

  it('one photograph, whatever its name', async () => {
    await copyFile(join(tiny.images, 'dark', '001.png'), at('photo'));
    const { images } = await extract('a.npz', { images: [at('photo')], values: ['conv1_node'] });
    expect(images).to.equal(1);
    expect(readNpz(at('a.npz'), ['conv1_node'])['conv1_node']?.dims).to.deep.equal([1, 4, 16, 16]);
  });

  it('a signal, an error and wrong arguments leave nothing, and the old file as it was', async () => {
    const files = await names(folder());
    for (const out of ['a.npz', 'a.safetensors']) {
      const abort = new AbortController();
      const onProgress = (): void => abort.abort();
      const stopped = await failure('E_STATE', /stopped; nothing is written/, () =>
        extract(out, { signal: abort.signal, onProgress }),
      );
      expect(stopped.details).to.include({ stopped: true });
      await failure('E_STATE', /stopped/, () => extract(out, { signal: AbortSignal.abort() }));
      const bad = [join(tiny.images, 'bright', '003.png')];
      await failure('E_FILE', /at least one usable/, () => extract(out, { images: bad }));
      await failure('E_FILE', /Cannot write/, () => extract(`none/${out}`));
      expect(await names(folder())).to.deep.equal(files);
      await writeFile(at(out), 'old');
      await failure('E_ARGUMENT', /Nearest names/, () => extract(out, { values: ['x'] }));
      expect(await readFile(at(out), 'utf8')).to.equal('old');
      files.push(out);
      files.sort();
    }
    await failure('E_ARGUMENT', /\.npz or \.safetensors/, () => extract('a.h5'));
    await failure('E_FILE', /ENOENT/, () => extract('a.npz', { images: [at('none')] }));
    await failure('E_ARGUMENT', /at least one photograph/, () => extract('a.npz', { images: [] }));
  });
});
