import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { buildProgram } from '../../lib/cli/main.js';
import { encodeModel } from '../../lib/performer/index.js';
import { names, temporaryFolder } from '../data/temporary.js';
import { writeTiny, type Tiny } from '../explainer/tiny.js';
import { NetBuilder, smallModel } from '../support/onnx_models.js';
import { here } from './run_cli.js';

const COMMANDS = [
  'demo',
  'inspect',
  'train',
  'evaluate',
  'explain',
  'export',
  'features',
  'report',
  'devices',
  'build',
];

describe('partlens: usage', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  beforeEach(async () => {
    tiny = await writeTiny(folder(), { count: 4 });
  });

  /** Flags of a training run on tiny data. */
  const train = (...more: string[]): string[] => {
    const { model, images } = tiny;
    const out = join(folder(), 'run');
    return ['train', '--performer', model, '--images', images, '--out', out, ...more];
  };

  it('has the commands that the documents name', () => {
    expect(buildProgram().commands.map((command) => command.name())).to.deep.equal(COMMANDS);
  });

  for (const args of [[], ...COMMANDS.map((name) => [name])]) {
    it(`partlens ${[...args, '--help'].join(' ')} shows an example`, async () => {
      const { code, stdout, stderr } = await here(...args, '--help');
      expect(code).to.equal(0);
      expect(stdout).to.match(/^Usage: partlens/);
      expect(stdout).to.match(/\nExamples?:\n {2}partlens/);
      expect(stderr).to.equal('');
    });
  }

  it('train --help lists every option of the method with its default', async () => {
    const { stdout } = await here('train', '--help');
    for (const flag of ['--rho <value>', '--lambda-filter <value>', '--no-mask', '--no-project']) {
      expect(stdout).to.include(flag);
    }
    const line = stdout.replace(/\s+/g, ' ');
    expect(line).to.match(/--initial <value> .*\(choices: "he", "identity", "kmeans"\)/);
    expect(line).to.match(/--eta <value> [^-]+-eta log p \(default: 0\.3\)/);
  });

  it('--version is that of package.json', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
    expect(await here('--version')).to.deep.equal({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  const wrong: [string, () => string[], RegExp][] = [
    ['an unknown command', () => ['explian'], /unknown command 'explian'/],
    ['an unknown flag', () => ['demo', '--imagse', '3'], /unknown option '--imagse'.*--images/s],
    [
      'a missing flag',
      () => ['train', '--images', '.'],
      /--performer <model\.onnx>' not specified/,
    ],
    ['a missing argument', () => ['evaluate'], /missing required argument 'run'/],
    ['a missing photograph', () => ['explain', 'run'], /missing required argument 'images'/],
    ['no format', () => ['export', 'run', '--out', 'x'], /--format <name>' not specified/],
    [
      'an unknown format',
      () => ['export', 'run', '--format', 'h5'],
      /choices are onnx, safetensors/,
    ],
    [
      '--fused with npz',
      () => ['export', 'run', '--format', 'npz', '--images', 'a', '--fused', '--out', 'x'],
      /--fused with onnx only for --format npz/,
    ],
    [
      'npz without photographs',
      () => ['export', 'run', '--format', 'npz', '--out', 'x'],
      /Expected --images for --format npz/,
    ],
    ['--top 0', () => ['explain', 'run', 'x.png', '--top', '0'], /Expected an integer >= 1/],
    ['--occlusion -1', () => ['evaluate', 'x', '--occlusion', '-1'], /Expected an integer >= 0/],
    ['an unknown choice', () => ['evaluate', 'x', '--split', 'some'], /choices are all, train/],
    ['no number', () => ['demo', '--images', 'many'], /Expected an integer >= 1/],
    ['threads 0', () => train('--threads', '0'), /Expected an integer >= 1/],
    ['an accuracy', () => train('--accuracy', 'best'), /choices are fast, high, direct/],
    [
      'too few images',
      () => ['demo', '--images', '5', '--out', folder()],
      /at least 200 for images/,
    ],
    ['--rho -1', () => train('--rho', '-1'), /Expected a number >= 0 for rho but received -1\./],
    ['--kernel 4', () => train('--kernel', '4'), /an odd number for kernel but received 4\./],
    [
      '--kernel 17 on maps of 8 x 8',
      () => train('--layer', 'conv2_relu', '--kernel', '17'),
      /at most 15 for kernel but received 17\.\nMaps of 8 x 8 cells/,
    ],
    [
      '--kernel 99',
      () => train('--layer', 'conv2_relu', '--kernel', '99'),
      /at most 15 for kernel but received 99\./,
    ],
    [
      '--scale big',
      () => train('--scale', 'big'),
      /argument 'big' is invalid\. Allowed choices are peak, paper/,
    ],
    ['--eta x', () => train('--eta', 'x'), /a number for eta but received "x"/],
    ['--epochs 1.5', () => train('--epochs', '1.5'), /an integer for epochs but received 1\.5/],
    ['an unknown layer', () => train('--layer', 'conv2_rel'), /conv2_rel".*"?conv2_relu/s],
    ['an unknown target', () => train('--targets', 'fc1_rleu'), /fc1_rleu".*"?fc1_relu/s],
    ['a layer behind the target', () => train('--layer', 'fc1_relu'), /fc1_relu.*conv2_relu/s],
    ['an unknown class', () => train('--classes', 'dog'), /one of bright, dark for classes/],
  ];
  for (const [what, args, message] of wrong) {
    it(`${what} is wrong usage: one sentence, code 2`, async () => {
      const { code, stdout, stderr } = await here(...args());
      expect(stderr).to.match(message);
      expect(stderr).to.match(/^(error|partlens): /);
      expect(stderr).not.to.match(/\n\s+at /);
      expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' });
      expect(await names(folder())).not.to.include('run');
    });
  }

  it('lists the nearest names first', async () => {
    const { stderr } = await here(...train('--layer', 'conv1_rellu'));
    expect(stderr).to.match(/nearest.*conv1_relu/i);
  });

  const failing: [string, () => Promise<string[]> | string[], RegExp][] = [
    ['a missing model', () => ['inspect', join(folder(), 'no.onnx')], /no\.onnx.*\(E_FILE\)/],
    [
      'a garbage model',
      async () => {
        await writeFile(tiny.model, 'this is no network at all');
        return ['inspect', tiny.model];
      },
      /tiny\.onnx.*\(E_ONNX\)/s,
    ],
    [
      'a truncated model',
      async () => {
        await writeFile(tiny.model, smallModel().subarray(0, 900));
        return train();
      },
      /\(E_ONNX\)/,
    ],
    ['a missing folder', () => train('--images', join(folder(), 'none')), /none.*ENOENT.*E_FILE/],
    ['a folder without a run', () => ['evaluate', folder()], /holds no run.*\(E_FILE\)/],
    ['explain without a run', () => ['explain', folder(), 'x.png'], /holds no run.*\(E_FILE\)/],
  ];
  for (const [what, args, message] of failing) {
    it(`${what} is a failure: one sentence, code 1`, async () => {
      const { code, stdout, stderr } = await here(...(await args()));
      expect(stderr).to.match(message);
      expect(stderr).to.match(/^partlens: /);
      expect(stderr).not.to.match(/\n\s+at /);
      expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
    });
  }

  it('shows the stack with --verbose, before or behind the command', async () => {
    const model = join(folder(), 'no.onnx');
    for (const args of [
      ['--verbose', 'inspect', model],
      ['inspect', model, '--verbose'],
    ]) {
      const { code, stderr } = await here(...args);
      expect(code).to.equal(1);
      expect(stderr).to.match(/\n {4}at .*\.[jt]s:\d+/);
    }
  });

  it('maps that are too small, down to one cell, cannot be explained', async () => {
    for (const size of [1, 2]) {
      const net = new NetBuilder({ size: 8, seed: 3 });
      const stride = 8 / size;
      const attributes = { strides: [stride, stride] };
      const x = net.relu(net.conv('image', 'conv', [4, 3, stride], attributes));
      const flat = net.node('Flatten', 'flat', [x]);
      net.gemm(net.relu(net.gemm(flat, 'fc', [6, 4 * size * size])), 'logits', [2, 6]);
      await writeFile(tiny.model, encodeModel(net.spec('logits')));
      await writeFile(
        tiny.model.replace('.onnx', '.json'),
        '{"size":8,"mean":[0,0,0],"std":[1,1,1],"channels":"RGB","scale":1}',
      );
      const { code, stderr } = await here(...train('--layer', 'conv_relu'));
      expect(code).to.equal(2);
      expect(stderr).to.match(size === 1 ? /no maps of more than one/ : /fewer than 4 x 4 cells/);
      const inspected = await here('inspect', tiny.model);
      expect(inspected.code).to.equal(0);
      expect(inspected.stdout).to.include('No layer of this network can be explained.');
    }
  });

  it('preprocessing is not guessed', async () => {
    await writeFile(tiny.model.replace('.onnx', '.json'), '{}');
    const { code, stderr } = await here(...train());
    expect(code).to.equal(2);
    expect(stderr).to.match(/channels, scale, mean, std of the images for preprocessing/);
  });

  it('inspect shows layers, targets, proposal; --json the same as an object', async () => {
    const { code, stdout, stderr } = await here('inspect', tiny.model);
    expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
    expect(stdout).to.match(/conv2_relu +6 x 8 x 8 +yes +\[\d\] \[\d\] +-/);
    expect(stdout).to.include('] logits (2)\n');
    expect(stdout).to.include('computed by partlens: every op has one of its own\n');
    expect(stdout).to.include('With 96 filters the decoder has 582 weights; features of 1000');
    expect(stdout).to.include('proposed: --layer conv2_relu --targets fc1_relu,logits');
    const json = JSON.parse((await here('inspect', tiny.model, '--json')).stdout) as {
      layers: { name: string }[];
      proposal: { layer: string };
    };
    expect(json.proposal.layer).to.equal('conv2_relu');
    expect(json.layers.map(({ name }) => name)).to.include('conv2_relu');
  });

  it('devices names every backend, and why one is missing; --json too', async () => {
    const { code, stdout, stderr } = await here('devices');
    expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
    expect(stdout).to.match(/^cpu +(sse2|avx2|avx512|neon), \d+ threads, [\d.]+ GiB$/m);
    expect(stdout).to.match(/^cuda +\S/m);
    const devices = JSON.parse((await here('devices', '--json')).stdout) as {
      backend: string;
      available: boolean;
      reason: string;
    }[];
    expect(devices.map(({ backend }) => backend)).to.deep.equal(['cpu', 'cuda']);
    for (const { available, reason } of devices) expect(available).to.equal(reason === '');
  });
});
