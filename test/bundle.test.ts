import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { finished } from './support/op_tests.js';

const root = fileURLToPath(new URL('../', import.meta.url));
const { canEmulate, buildEmulated } = (await import(
  path.join(root, 'scripts/build_emulated.mjs')
)) as { canEmulate: () => boolean; buildEmulated: (variant: string) => Promise<string> };

describe('the offline bundle, with an emulated CUDA library', function () {
  this.timeout(600_000);
  let parent = '';
  let bundle = '';

  /** What a starter of the bundle writes, from another folder and without any environment. */
  function started(name: string, args: string[], env: Record<string, string> = {}) {
    const { stdout, stderr, status } = spawnSync(path.join(bundle, name), args, {
      ...{ cwd: '/', env, encoding: 'utf8' },
    });
    return { status, output: stdout + stderr };
  }

  before(async function () {
    if (!canEmulate()) {
      console.log('      skipped: the emulator needs Linux on x86-64 and g++');
      this.skip();
    }
    const library = path.join(await buildEmulated('plain'), 'libpartlens_cuda.so');
    parent = await mkdtemp(path.join(tmpdir(), 'partlens-bundle-'));
    const { code, output } = await finished(process.execPath, [
      ...[path.join(root, 'scripts/bundle.mjs'), '--folder', parent, '--cuda-library', library],
    ]);
    if (code !== 0) throw new Error(output);
    const [name = ''] = await readdir(parent);
    bundle = path.join(parent, 'a place');
    await rename(path.join(parent, name), bundle);
  });

  after(async () => {
    if (parent !== '') await rm(parent, { recursive: true, force: true });
  });

  it('lists its devices, and says why there is no CUDA', () => {
    expect(started('partlens', ['devices']).output).to.match(/^cpu .*\ncuda +CUDA emulator, sm_90/);
    const without = started('partlens', ['devices'], { EMULATOR_DEVICES: '0' });
    expect(without.output).to.match(/^cpu .*\ncuda +not available: no CUDA-capable device/);
    expect(without.status).to.equal(0);
  });

  it('runs its tests: kernels on both backends, pictures', () => {
    const files = ['test/ops/relu.test.js', 'test/data/decode.test.js'];
    const { status, output } = started('test', files);
    expect(status, output).to.equal(0);
    expect(output)
      .to.match(/relu[^]*cuda[^]*passing/)
      .and.not.to.match(/failing|pending/);
  });

  it('has what each of its tests imports', () => {
    const { status, output } = started('test', ['--dry-run', 'test/**/*.test.js']);
    expect(status, output).to.equal(0);
    expect(output).to.match(/[5-9]\d\d passing|\d{4} passing/);
  });

  it('knows the parts of the GPU check', () => {
    if (spawnSync('python3', ['-c', 'import numpy']).status !== 0) return;
    const { PATH = '' } = process.env;
    const { status, output } = started('gpu-check', ['--help'], { PATH });
    expect(status, output).to.equal(0);
    expect(output).to.contain('--library');
  });
});
