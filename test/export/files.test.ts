import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { unzipSync } from 'fflate';
import { readImage, readSafetensors } from '../../lib/data/index.js';
import { encodeNpy, writeNpz } from '../../lib/data/npz.js';
import { exportMaps, exportSafetensors } from '../../lib/export/index.js';
import type { Explainer } from '../../lib/explainer.js';
import type { Performer } from '../../lib/performer/index.js';
import { names, temporaryFolder } from '../data/temporary.js';
import {
  C,
  FC1,
  FC2,
  N,
  tinyPerformer,
  withExplainer,
  writeTiny,
  type Tiny,
} from '../explainer/tiny.js';
import { failure } from '../support/performer.js';

/** Reads an `.npy` file: descr, shape, bytes behind the header. */
function readNpy(file: Uint8Array): { descr: string; shape: number[]; data: ArrayBuffer } {
  const buffer = Buffer.from(file);
  expect(buffer.subarray(0, 8).toString('latin1')).to.equal('\x93NUMPY\x01\x00');
  const length = buffer.readUInt16LE(8);
  expect((10 + length) % 64).to.equal(0);
  const header = buffer.subarray(10, 10 + length).toString('latin1');
  expect(header.endsWith('\n')).to.equal(true);
  const [, descr = '', shape = ''] =
    /^\{'descr': '(.+)', 'fortran_order': False, 'shape': \((.*)\), \} *\n$/.exec(header) ?? [];
  const dims = shape.split(',').map((text) => text.trim());
  const data = Uint8Array.from(buffer.subarray(10 + length)).buffer;
  return { descr, shape: dims.filter((text) => text !== '').map(Number), data };
}

describe('export: npy and npz', () => {
  const folder = temporaryFolder();

  it('an array of each type, and one value, and none', () => {
    const join = (parts: Uint8Array[]): Uint8Array => Buffer.concat(parts);
    const floats = readNpy(join(encodeNpy({ shape: [2, 1], data: Float32Array.of(1.5, -2) })));
    expect(floats).to.deep.include({ descr: '<f4', shape: [2, 1] });
    expect([...new Float32Array(floats.data)]).to.deep.equal([1.5, -2]);
    const single = readNpy(join(encodeNpy({ shape: [1], data: Int32Array.of(7) })));
    expect(single).to.deep.include({ descr: '<i4', shape: [1] });
    const texts = readNpy(join(encodeNpy({ shape: [2], data: ['ä𝄞', 'abc'] })));
    expect(texts).to.deep.include({ descr: '<U3', shape: [2] });
    const points = [...new Uint32Array(texts.data)];
    expect(points).to.deep.equal([0xe4, 0x1d11e, 0, 0x61, 0x62, 0x63]);
    expect(
      readNpy(join(encodeNpy({ shape: [0, 3], data: new Float32Array(0) }))).shape,
    ).to.deep.equal([0, 3]);
  });

  it('larger arrays than a piece come back whole; the same bytes twice', async () => {
    const data = Float32Array.from({ length: 300_001 }, (_, i) => Math.sin(i));
    const [a, b] = ['a.npz', 'b.npz'].map((name) => join(folder(), name));
    for (const path of [a!, b!]) {
      await writeNpz(path, { big: { shape: [data.length], data }, s: { shape: [1], data: ['x'] } });
    }
    const bytes = await readFile(a!);
    expect(bytes.equals(await readFile(b!))).to.equal(true);
    const entries = unzipSync(bytes);
    expect(Object.keys(entries)).to.deep.equal(['big.npy', 's.npy']);
    expect(new Float32Array(readNpy(entries['big.npy']!).data)).to.deep.equal(data);
  });

  it('wrong shapes and full folders leave nothing behind', async () => {
    const wrong = { x: { shape: [3], data: new Float32Array(2) } };
    await failure('E_SHAPE', /3 values for x but received 2/, () =>
      writeNpz(join(folder(), 'x.npz'), wrong),
    );
    await failure('E_FILE', /none/, () => writeNpz(join(folder(), 'none', 'x.npz'), {}));
    expect(await names(folder())).to.deep.equal([]);
  });
});

describe('export: files of a run', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  let performer: Performer;
  beforeEach(async () => {
    tiny = await writeTiny(folder());
    performer = await tinyPerformer(tiny.model);
  });
  afterEach(() => performer.dispose());

  const use = <T>(body: (explainer: Explainer) => Promise<T>): Promise<T> =>
    withExplainer(
      {
        ...{ performer, images: tiny.images, out: join(folder(), 'run') },
        ...{ filters: 5, decoder: 'learned' },
      },
      body,
    );

  it('safetensors: the names that the documents list, with their shapes', async () => {
    await use(async (explainer) => {
      const path = join(folder(), 'explainer.safetensors');
      expect(await exportSafetensors(explainer, path)).to.deep.equal({ path, tensors: 13 });
      const { tensors, metadata } = await readSafetensors(path);
      const shapes = Object.entries(tensors).map(([name, { shape }]) => [name, ...shape]);
      expect(shapes).to.have.deep.members([
        ['conv_interp_1.weight', 5, C, 3, 3],
        ['conv_interp_1.bias', 5],
        ['conv_interp_2.weight', 5, 5, 3, 3],
        ['conv_interp_2.bias', 5],
        ['conv_ordin.weight', 5, C, 3, 3],
        ['conv_ordin.bias', 5],
        ['norm_interp.alpha', 5],
        ['norm_ordin.alpha', 5],
        ['mix.w_p'],
        ['fc_dec_1.weight', FC1, 5 * (N / 2) ** 2],
        ['fc_dec_1.bias', FC1],
        ['fc_dec_2.weight', FC2, FC1],
        ['fc_dec_2.bias', FC2],
      ]);
      const document = await readFile('docs/export.md', 'utf8');
      for (const name of Object.keys(tensors)) {
        expect(document).to.include(`\`${name.replace(/fc_dec_\d/, 'fc_dec_<l>')}\``);
      }
      for (const key of Object.keys(metadata)) expect(document, key).to.include(`\`${key}\``);
      expect(1 / (1 + Math.exp(-Number(tensors['mix.w_p']?.data[0])))).to.equal(explainer.p);
      const { layer1 } = await explainer.maps(new Float32Array(C * N * N), 1);
      const bias = tensors['conv_interp_1.bias']!.data as Float32Array;
      bias.forEach((b, f) => expect(layer1[f * N * N]).to.be.closeTo(Math.max(0, b), 1e-7));
    });
  });

  it('npz: maps, peaks and names of files and folders, in order', async () => {
    await use(async (explainer) => {
      const path = join(folder(), 'maps.npz');
      const single = join(tiny.images, 'dark', '003.png');
      const broken = join(folder(), 'broken.png');
      await writeFile(broken, 'no image');
      const warnings: string[] = [];
      const { images } = await exportMaps(
        explainer,
        [single, broken, join(tiny.images, 'bright')],
        path,
        {
          onWarning: (text) => warnings.push(text),
        },
      );
      expect(images).to.equal(11);
      expect(warnings.join()).to.match(/^[^,]*broken\.png is skipped/);
      const arrays = Object.entries(unzipSync(await readFile(path))).map(
        ([name, file]) => [name.replace('.npy', ''), readNpy(file)] as const,
      );
      expect(arrays.map(([name, { shape }]) => [name, ...shape])).to.deep.equal([
        ['images', 11],
        ['sizes', 11, 2],
        ['part_maps_1', 11, 5, N, N],
        ['part_maps_2', 11, 5, N, N],
        ['peaks', 11, 5, 2],
      ]);
      const of = Object.fromEntries(arrays);
      const { pixels } = await readImage(single, performer.preprocessing);
      const { layer1, layer2 } = await explainer.maps(
        (await performer.features(pixels, 1)).layer,
        1,
      );
      const size = 5 * N * N;
      const first = (name: string): Float32Array => new Float32Array(of[name]!.data).slice(0, size);
      first('part_maps_1').forEach((value, i) => expect(value).to.be.closeTo(layer1[i]!, 1e-4));
      first('part_maps_2').forEach((value, i) => expect(value).to.be.closeTo(layer2[i]!, 1e-4));
      expect([...new Int32Array(of['sizes']!.data)].slice(0, 2)).to.deep.equal([24, 20]);
      const { parts } = await explainer.explain(single);
      const peaks = new Float32Array(of['peaks']!.data);
      for (const { filter, place } of parts) {
        expect(peaks[2 * filter]).to.be.closeTo(place.y, 1e-4);
        expect(peaks[2 * filter + 1]).to.be.closeTo(place.x, 1e-4);
      }
      const width = Number(of['images']!.descr.slice(2));
      const name = String.fromCodePoint(...new Uint32Array(of['images']!.data).slice(0, width));
      expect(name.replace(/\0+$/, '')).to.equal(single);
      expect((await stat(path)).size).to.be.above(1000);
    });
  });

  it('no photograph, one that is gone, a signal: said in one sentence', async () => {
    await use(async (explainer) => {
      const path = join(folder(), 'maps.npz');
      const empty = join(folder(), 'empty');
      await mkdir(empty);
      await failure('E_ARGUMENT', /at least one photograph/, () =>
        exportMaps(explainer, [empty], path),
      );
      await failure('E_FILE', /none\.png: ENOENT/, () =>
        exportMaps(explainer, [join(folder(), 'none.png')], path),
      );
      const signal = AbortSignal.abort();
      await failure('E_STATE', /export was stopped/, () =>
        exportMaps(explainer, [tiny.images], path, { signal }),
      );
      expect(await names(folder())).not.to.include('maps.npz');
    });
  });
});
