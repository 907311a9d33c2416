import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { readSafetensors } from '../../lib/data/index.js';
import { encodeModel } from '../../lib/performer/index.js';
import { names, temporaryFolder } from '../data/temporary.js';
import { writeTiny, type Tiny } from '../explainer/tiny.js';
import { NetBuilder } from '../support/onnx_models.js';

import { here, start, until } from './run_cli.js';

const DEVICE = ['--backend', 'cpu', '--threads', '1'];

describe('partlens: features', () => {
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder(), name);
  let tiny: Tiny;
  beforeEach(async () => {
    tiny = await writeTiny(folder(), { count: 6 });
  });
  const features = (...more: string[]): string[] => {
    return ['features', tiny.model, '--images', tiny.images, ...DEVICE, ...more];
  };

  it('writes values and says what they are; --layer is the same', async () => {
    const { code, stdout, stderr } = await here(
      ...features('--values', 'conv2_relu,logits', '--out', at('a.npz'), '--batch', '4'),
    );
    expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
    expect(stdout).to.match(/a\.npz: 6 photographs, 0 skipped\n {2}conv2_relu \(6, 6, 8, 8\)\n/);
    expect(stdout).to.match(/ {2}logits \(6, 2\)\ncomputed on cpu \(\w+, 1 threads\)\n$/);
    const layer = await here(...features('--layer', 'fc1', '--out', at('b.safetensors')));
    expect(layer).to.include({ code: 0, stderr: '' });
    const { tensors } = await readSafetensors(at('b.safetensors'));
    expect(tensors['fc1']?.shape).to.deep.equal([6, 12]);
  });

  it('takes names with commas, and image flags where no file says it', async () => {
    const net = new NetBuilder({ size: 8 });
    net.node('Softmax', 'y', [net.conv('image', 'a,b', [2, 3, 3])], { axis: 1 });
    await writeFile(at('net.onnx'), encodeModel(net.spec('y')));
    const images = ['--image-channels', 'BGR', '--image-scale', '1', '--image-mean', '1,2,3'];
    const args = ['features', at('net.onnx'), '--images', tiny.images, ...DEVICE, ...images];
    const given = ['--values', 'a\\,b', '--out', at('a.npz')];
    const told = await here(...args, '--image-std', '1,1,1', ...given);
    expect(told).to.include({ code: 0, stderr: '' });
    expect(told.stdout).to.include('  a,b (6, 2, 6, 6)\n');
    const missing = await here(...args, ...given);
    expect(missing.code).to.equal(2);
    expect(missing.stderr).to.match(/std of the images.*--image-std/s);
  });

  it('wrong usage is code 2, in one sentence', async () => {
    for (const [args, message] of [
      [features('--out', at('a.npz')), /at least one name for --values/],
      [features('--values', 'logits'), /required option '--out/],
      [features('--values', 'logit', '--out', at('a.npz')), /Nearest names: "logits"/],
      [features('--values', 'logits', '--out', at('a.csv')), /\.npz or \.safetensors/],
    ] as const) {
      const { code, stdout, stderr } = await here(...args);
      expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' });
      expect(stderr).to.match(message);
    }
    expect(await names(folder())).to.deep.equal(['photos', 'tiny.json', 'tiny.onnx']);
  });

  it('Ctrl-C keeps nothing half-written', async () => {
    const many = Array.from({ length: 3000 }, () => tiny.images);
    const args = features('--values', 'conv2_relu', '--out', at('a.npz'), '--batch', '1');
    const running = start([...args, '--images', ...many]);
    const temporary = async (): Promise<boolean> =>
      (await names(folder())).some((name) => name.startsWith('.partlens-'));
    await until(temporary, running);
    running.child.kill('SIGINT');
    const { code, stdout, stderr } = await running.ended;
    expect(stderr).to.match(/^stopping\npartlens: .*stopped; nothing is written/);
    expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
    expect(await names(folder())).to.deep.equal(['photos', 'tiny.json', 'tiny.onnx']);
  });
});
