import { expect } from 'chai';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildTrainingGraph } from '../../lib/explainer/loss.js';
import { trainOptions } from '../../lib/explainer/options.js';
import { registry, type Graph, type Value } from '../../lib/engine/graph.js';
import '../../lib/engine/ops/index.js';
import { schedule } from '../../lib/engine/plan.js';
import { isOptional } from '../../lib/engine/signature.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const command = join(root, 'bench/gpu_check.py');

/** A Python that has numpy, or undefined. */
function findPython(): string | undefined {
  return ['python3', '/usr/bin/python3'].find(
    (python) => spawnSync(python, ['-c', 'import numpy'], { stdio: 'ignore' }).status === 0,
  );
}

interface Outcome {
  status: number | null;
  output: string;
}

function run(program: string, args: string[], env: Record<string, string> = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: root, env: { ...process.env, OUT: '', ...env } });
    let output = '';
    child.stdout.on('data', (chunk) => (output += String(chunk)));
    child.stderr.on('data', (chunk) => (output += String(chunk)));
    child.on('error', reject);
    child.on('close', (status) => {
      resolve({ status, output });
    });
  });
}

interface ListedCall {
  kernel: string;
  attrs: Record<string, number>;
  shapes: (number[] | null)[];
}

/** The calls of a program as sorted lines: kernel, shapes, attributes. */
function lines(calls: readonly ListedCall[]): string[] {
  return calls
    .map(({ kernel, attrs, shapes }) => {
      const values = Object.entries(attrs)
        .filter(([name]) => name !== 'none')
        .map(([, value]) => Math.fround(value));
      return [kernel, ...shapes.map((shape) => shape?.join('x') ?? '-'), ...values].join(' ');
    })
    .sort();
}

/** The fused calls of a graph; steps that run as one over their memory are listed one by one. */
function listed(graph: Graph): ListedCall[] {
  const { nodes } = schedule(graph);
  const read = new Set<Value | undefined>(nodes.flatMap(({ inputs }) => inputs));
  for (const value of [...graph.outputs.values(), ...graph.updates]) read.add(value);
  const shape = (value: Value | undefined): number[] | null => (value ? [...value.shape] : null);
  return nodes.flatMap(({ op, attrs, inputs, outputs }) => {
    if (!op) return [];
    const results = Object.values(op.outputs).map((signature, i) =>
      isOptional(signature) && !read.has(outputs[i]) ? null : shape(outputs[i]),
    );
    const ordered = Object.keys(op.attrs).map((name) => [name, attrs[name] ?? 0] as const);
    const shapes = [...inputs.map(shape), ...results];
    return [{ kernel: op.name, attrs: Object.fromEntries(ordered), shapes }];
  });
}

describe('the training step of bench/gpu', () => {
  const settings = [
    { name: 'VGG-16', batch: 32, channels: 512, filters: 512, sizes: [4096, 4096], sgd: true },
    { name: 'demo', batch: 64, channels: 64, filters: 64, sizes: [256, 256], sgd: false },
    { name: 'tiny', batch: 4, channels: 5, filters: 7, sizes: [9, 8], side: 6, sgd: false },
  ];
  for (const { name, batch, channels, filters, sizes, sgd, side = 14 } of settings) {
    it(`${name}: the kernels, shapes and attributes of the package's own plan`, function () {
      const python = findPython();
      if (python === undefined) {
        console.log('      skipped: numpy is not installed');
        this.skip();
      }
      const { graph } = buildTrainingGraph(
        {
          ...{ channels, filters, height: side, width: side, site: undefined },
          ...{ pool: { kernel: 2, stride: 2 }, featureScale: 1 },
          targets: sizes.map((size, i) => ({ name: String(i), shape: [size], size, relu: true })),
        },
        trainOptions.parse({ diversity: 0, ...(sgd ? { optimizer: 'sgd' as const } : {}) }),
        { batch, targetPower: [1, 1] },
      );
      const found = spawnSync(python, ['-m', 'gpu.step', name], {
        cwd: join(root, 'bench'),
        encoding: 'utf8',
      });
      const calls = JSON.parse(found.stdout) as ListedCall[];
      expect(lines(calls)).to.deep.equal(lines(listed(graph)));
    });
  }
});

describe('the bars of bench/gpu', () => {
  it('each is met, missed or not measured', function () {
    const python = findPython();
    if (python === undefined) {
      console.log('      skipped: numpy is not installed');
      this.skip();
    }
    const large = '512 channels, B=128';
    const call = (kernel: string, shares: [number, number], more = {}): object => {
      const [product, copy] = shares;
      const shared = { setting: 'VGG-16', precision: 'tf32', MB: 20 };
      return { kernel, ...shared, 'of product': product, 'of copy': copy, ...more };
    };
    const found = {
      steps: [
        { setting: 'VGG-16', 'tuned / ours tf32': 1.25, 'eager / ours tf32': 1.9 },
        { setting: 'small VGG', 'torch tuned': 'no compiler', 'eager / ours tf32': 2.5 },
      ],
      kernels: [
        call('conv2d_forward', [0.7, 0.1], { setting: large }),
        call('conv2d_backward_data', [0.5, 0.1], { setting: large }),
        call('conv2d_backward_data', [0.9, 0.1], { setting: large, precision: 'bf16' }),
        call('relu_backward', [0, 0.7]),
        call('linear_forward', [0.1, 0.8]),
        call('add_forward', [0, 0.1], { MB: 1 }),
      ],
    };
    const code =
      'import json, sys; from gpu.bars import bars; print(json.dumps(bars(json.load(sys.stdin))))';
    const { stdout } = spawnSync(python, ['-c', code], {
      ...{ cwd: join(root, 'bench'), encoding: 'utf8', input: JSON.stringify(found) },
    });
    const rows = JSON.parse(stdout) as { result: string; measured: number | null; note: string }[];
    expect(rows.map(({ result, measured }) => [result, measured])).to.deep.equal([
      ...[
        ['met', 1.25],
        ['MISSED', 1.9],
        ['not measured', null],
        ['met', 2.5],
      ],
      ...[
        ['met', 0.7],
        ['MISSED', 0.5],
        ['not measured', null],
        ['MISSED', 0.7],
      ],
    ]);
    expect(rows[2]?.note).to.equal('no compiler');
    expect(rows[7]?.note).to.equal('1 of 2 below: relu_backward (VGG-16) 0.70');
  });
});

describe('bench/gpu_check.py on an emulated device', function () {
  this.timeout(600_000);
  const folder = mkdtempSync(join(tmpdir(), 'partlens-gpu-check-'));
  let python = '';
  let library = '';

  before(async function () {
    python = findPython() ?? '';
    const linux = process.platform === 'linux' && process.arch === 'x64';
    const reason =
      !linux || spawnSync('g++', ['--version']).status !== 0
        ? 'the emulator needs Linux on x86-64 and g++'
        : python === ''
          ? 'numpy is not installed (Debian: apt-get install python3-numpy)'
          : undefined;
    if (reason !== undefined) {
      console.log(`      skipped: ${reason}`);
      this.skip();
    }
    const built = await run(process.execPath, ['scripts/build_emulated.mjs', 'plain']);
    expect(built.status, built.output).to.equal(0);
    library = join(built.output.trim().split('\n').at(-1) ?? '', 'libpartlens_cuda.so');
  });

  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('passes and writes its results', async () => {
    const { status, output } = await run(python, [
      ...[command, '--emulate', library, '--results', folder],
    ]);
    expect(status, output).to.equal(0);
    expect(output).to.match(new RegExp(`${String(registry.size)} kernels[^]*PASSED\n$`));
    const report = JSON.parse(readFileSync(join(folder, 'cuda-emulator.json'), 'utf8')) as {
      passed: boolean;
      sections: { name: string; passed: boolean | null }[];
    };
    expect(report.passed).to.equal(true);
    expect(report.sections.find(({ name }) => name === 'parity')?.passed).to.equal(true);
    expect(readFileSync(join(folder, 'cuda-emulator.md'), 'utf8')).to.contain('# CUDA emulator');
  });

  const wrongs = [
    ['relu_backward', 'value', 'dx: relative error'],
    ['conv2d_forward', 'value', 'relative error'],
    ['linear_backward_weight', 'unwritten', 'are not finite'],
    ['mask_layer_forward', 'unwritten', 'words of padding are not zero'],
    ['adam_step', 'unwritten', 'w_out: relative error'],
    ['add_forward', 'stray', '1 words outside of the outputs were written'],
    ['maxpool2d_forward', 'input', '1 words outside of the outputs were written'],
    ['filter_loss_forward', 'unsteady', 'two runs differ'],
    ['clip_forward', 'crash', 'its process ended with code -6'],
    ['mean_backward', 'lost', 'DeviceLost: tf32 mean_backward'],
  ] as const;

  it('a kernel that is wrong, unsteady or writes where it must not fails it', async () => {
    const wrong = join(folder, 'wrong.so');
    const source = ['-Inative', 'test/cuda/wrong_kernel.cpp', '-o', wrong, '-ldl'];
    const built = await run('g++', ['-std=c++17', '-O1', '-shared', '-fPIC', ...source]);
    expect(built.status, built.output).to.equal(0);
    for (const [kernel, how, text] of wrongs) {
      const { status, output } = await run(
        python,
        [command, '--emulate', wrong, '--only', 'parity', '--kernels', kernel],
        { WRONG_LIBRARY: library, WRONG_KERNEL: kernel, WRONG_HOW: how },
      );
      expect(status, output).to.equal(1);
      expect(output).to.contain(`wrong: ${kernel}`).and.to.contain(text);
      expect(output).to.match(/FAILED\n$/);
    }
  });
});
