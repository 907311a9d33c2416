import { expect } from 'chai';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

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
    expect(output).to.match(/46 kernels[^]*PASSED\n$/);
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
