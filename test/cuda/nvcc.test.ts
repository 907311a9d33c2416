import { expect } from 'chai';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { finished } from '../support/op_tests.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folders = (process.env.PATH ?? '').split(':');
const nvcc = folders.map((folder) => path.join(folder, 'nvcc')).find((file) => existsSync(file));

const FLAGS = ['-std=c++17', '-O3', '-Inative', '-Xcompiler', '-fPIC', '-Xptxas', '-v'];
const TARGETS = ['arch=compute_80,code=sm_80', 'arch=compute_90a,code=sm_90a'];

describe('nvcc', () => {
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
      let kernels = 0;
      for (const name of files) {
        const target = ['-c', path.join(root, 'cuda/ops', name), '-o', path.join(folder, 'a.o')];
        const flags = [...FLAGS.map((flag) => flag.replace('-I', `-I${root}`))];
        const { code, output } = await finished(nvcc, [
          ...flags,
          ...TARGETS.flatMap((to) => ['-gencode', to]),
          ...target,
        ]);
        if (code !== 0) throw new Error(output);
        const reports = output.match(/\d+ bytes spill stores, \d+ bytes spill loads/g) ?? [];
        const clean = '0 bytes spill stores, 0 bytes spill loads';
        expect(
          reports.filter((report) => report !== clean),
          name,
        ).to.deep.equal([]);
        kernels += reports.length;
      }
      expect(kernels).to.be.above(20);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
