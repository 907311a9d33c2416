import { expect } from 'chai';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { finished } from '../support/op_tests.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folders = (process.env.PATH ?? '').split(':');
const find = (tool: string): string | undefined =>
  folders.map((folder) => path.join(folder, tool)).find((file) => existsSync(file));
const nvcc = find('nvcc');

const FLAGS = ['-std=c++17', '-O3', '-Inative', '-Xcompiler', '-fPIC', '-Xptxas', '-v'];
const TARGETS = ['arch=compute_80,code=sm_80', 'arch=compute_90a,code=sm_90a'];

/** Compiles a file of cuda/ops; the number of its kernels, all without a spill. */
async function cleanKernels(name: string, folder: string): Promise<number> {
  const target = ['-c', path.join(root, 'cuda/ops', name), '-o', path.join(folder, `${name}.o`)];
  const flags = FLAGS.map((flag) => flag.replace('-I', `-I${root}`));
  const targets = TARGETS.flatMap((to) => ['-gencode', to]);
  const { code, output } = await finished(nvcc ?? '', [...flags, ...targets, ...target]);
  if (code !== 0) throw new Error(output);
  const reports = output.match(/\d+ bytes spill stores, \d+ bytes spill loads/g) ?? [];
  const clean = '0 bytes spill stores, 0 bytes spill loads';
  expect(
    reports.filter((report) => report !== clean),
    name,
  ).to.deep.equal([]);
  return reports.length;
}

describe('nvcc', () => {
  it('builds the library, all kernels for every target', async function () {
    if (!nvcc || !find('cmake')) {
      console.log('      skipped: nvcc or cmake is not installed');
      this.skip();
    }
    this.timeout(1_200_000); // unless it is up to date
    const build = path.join(root, 'scripts/build_cuda.mjs');
    const { code, output } = await finished(process.execPath, [build]);
    expect(code, output).to.equal(0);
    expect(existsSync(path.join(root, 'build/cuda/libpartlens_cuda.so'))).to.equal(true);
  });

  it('compiles the convolution kernels for every target without a register spill', async function () {
    if (!nvcc) {
      console.log('      skipped: nvcc is not installed');
      this.skip();
    }
    this.timeout(600_000);
    const folder = await mkdtemp(path.join(tmpdir(), 'partlens-nvcc-'));
    try {
      const files = (await readdir(path.join(root, 'cuda/ops'))).filter((name) =>
        /^conv2d.*\.cu$/.test(name),
      );
      expect(files).to.have.length.above(3);
      const counts = await Promise.all(files.map((name) => cleanKernels(name, folder)));
      const kernels = counts.reduce((sum, count) => sum + count, 0);
      expect(kernels).to.be.above(20);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
