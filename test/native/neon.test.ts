import { expect } from 'chai';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { finished, type Finished } from '../support/op_tests.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

interface Builder {
  missingFor: (arch: string) => string;
  buildSmallShapes: (arch: string) => Promise<string[]>;
}
const { missingFor, buildSmallShapes } = (await import(
  path.join(root, 'scripts/build_small_shapes.mjs')
)) as Builder;

async function smallShapes(
  arch: 'x64' | 'arm64',
  isa: string,
  args: readonly string[] = [],
): Promise<Finished> {
  const [command = '', ...given] = await buildSmallShapes(arch);
  return finished(command, [...given, ...args], { PARTLENS_ISA: isa });
}

describe('kernels on ARM, emulated', function () {
  this.timeout(300_000);
  let folder = '';
  let results = '';

  before(async function () {
    const missing = missingFor('arm64');
    if (missing !== '') {
      console.log(`      skipped: needs ${missing}`);
      this.skip();
    }
    folder = await mkdtemp(path.join(tmpdir(), 'partlens-neon-'));
    results = path.join(folder, 'results');
    const { code, output } = await smallShapes('x64', 'sse2', ['--write', results]);
    if (code !== 0) throw new Error(output);
  });

  after(async () => {
    if (folder !== '') await rm(folder, { recursive: true });
  });

  it('the addon builds, its kernels are NEON and give the values of SSE2', async () => {
    const { code, output } = await smallShapes('arm64', '', ['--expect', results]);
    if (code !== 0) throw new Error(output);
    expect(output).to.match(/\nneon: at most \d\.\de-0[5-9] off\n[1-9]\d+ passed, 0 failed\n$/);
  });

  it('PARTLENS_ISA takes neon and nothing else', async () => {
    expect((await smallShapes('arm64', 'neon')).output).to.match(/[1-9]\d+ passed, 0 failed\n$/);
    for (const isa of ['sse2', 'avx2', 'avx512']) {
      const { code, output } = await smallShapes('arm64', isa);
      expect(code).to.equal(2);
      expect(output).to.match(/names no instruction set of this build, which has neon\n$/);
    }
  });

  for (const isa of ['avx2', 'avx512']) {
    it(`${isa} gives the values of SSE2`, async function () {
      const { code, output } = await smallShapes('x64', isa, ['--expect', results]);
      if (output.includes('that this machine lacks')) {
        console.log(`      skipped: this machine lacks ${isa}`);
        this.skip();
      }
      if (code !== 0) throw new Error(output);
    });
  }

  it('another value is noticed', async () => {
    const wrong = path.join(folder, 'wrong');
    const bytes = await readFile(results);
    bytes.writeFloatLE(bytes.readFloatLE(0) + 0.1, 0);
    await writeFile(wrong, bytes);
    const { code, output } = await smallShapes('arm64', '', ['--expect', wrong]);
    expect(code).to.equal(1);
    expect(output).to.match(/^FAILED fast conv2d_forward .* off by 0\.0/);
    expect(output).to.match(/ 1 failed\n$/);
  });
});
