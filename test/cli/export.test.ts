import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { unzipSync } from 'fflate';
import { readSafetensors } from '../../lib/data/index.js';
import { decodeModel } from '../../lib/performer/onnx_wire.js';
import { names, temporaryFolder } from '../data/temporary.js';
import { tinyPerformer, withExplainer, writeTiny, type Tiny } from '../explainer/tiny.js';
import { here, type Outcome } from './run_cli.js';

describe('partlens: export', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  beforeEach(async () => {
    tiny = await writeTiny(folder());
    const performer = await tinyPerformer(tiny.model);
    const out = join(folder(), 'run');
    await withExplainer({ performer, images: tiny.images, out, filters: 5 }, () => undefined);
    performer.dispose();
  });

  const write = (name: string, ...more: string[]): Promise<Outcome> => {
    const format = name.slice(name.lastIndexOf('.') + 1);
    const flags = ['--format', format, '--out', join(folder(), name), ...more];
    return here('export', join(folder(), 'run'), ...flags, '--backend', 'cpu', '--threads', '1');
  };

  it('writes each format and says what from and to', async () => {
    const onnx = await write('a.onnx');
    expect(onnx).to.include({ code: 0, stderr: '' });
    expect(onnx.stdout).to.match(/a\.onnx: 0\.0 MB\n {2}from features \(N, 6, 8, 8\)\n {2}to /);
    expect(onnx.stdout).to.include('x_enc (N, 149, 4, 4), rebuilt_maps (N, 6, 4, 4)\n');
    const fused = await write('b.onnx', '--fused');
    expect(fused.stdout).to.match(
      /from image \(N, 3, 16, 16\)\n {2}to .*masked_maps \(N, 5, 8, 8\)\n$/,
    );
    for (const [name, input] of [
      ['a.onnx', 'features'],
      ['b.onnx', 'image'],
    ] as const) {
      const model = decodeModel(await readFile(join(folder(), name)), name);
      expect(model.graph?.input.map((value) => value.name)).to.deep.equal([input]);
    }
    expect((await write('c.safetensors')).stdout).to.match(/c\.safetensors: 12 tensors\n$/);
    const { tensors } = await readSafetensors(join(folder(), 'c.safetensors'));
    expect(tensors).to.include.keys('conv_interp_2.weight', 'mix.w_p');
    const npz = await write('d.npz', '--images', join(tiny.images, 'dark'), tiny.images);
    expect(npz.stdout).to.match(/d\.npz: part maps of 30 photographs\n$/);
    expect(unzipSync(await readFile(join(folder(), 'd.npz')))).to.include.keys('part_maps_2.npy');
  });

  it('what cannot be read or written is code 1, and leaves nothing', async () => {
    const gone = await write('a.npz', '--images', join(folder(), 'none'));
    expect(gone).to.include({ code: 1, stdout: '' });
    expect(gone.stderr).to.match(/^partlens: Cannot read .*none: ENOENT.*\(E_FILE\)\n$/);
    const closed = await write('none/a.onnx');
    expect(closed).to.include({ code: 1, stdout: '' });
    expect(closed.stderr).to.match(/^partlens: Cannot write .*ENOENT.*\(E_FILE\)\n$/);
    expect(await names(folder())).to.deep.equal(['photos', 'run', 'tiny.json', 'tiny.onnx']);
  });
});
