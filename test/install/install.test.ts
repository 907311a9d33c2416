import { expect } from 'chai';
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { dependencies, manifest, packAll, PLATFORM } from './package_sets.js';
import { poorPath, run, writeProject, type Ran, type Told } from './project.js';
import { manifestOnly, startRegistry, type Entry } from './registry.js';

const LINUX = process.platform === 'linux';

/** npm's own program, of the npm on PATH. */
const npm = (): string =>
  realpathSync(execFileSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim());

describe('an install by npm, offline from packed tarballs, without compilers', function () {
  this.timeout(0); // a loaded machine fails no test
  const scratch = LINUX ? mkdtempSync(path.join(tmpdir(), 'partlens-install-')) : '';
  let entries: Entry[] = [];
  let bin = '';

  before(async function () {
    if (!LINUX) {
      console.log('      skipped: it needs Linux');
      this.skip();
    }
    bin = poorPath(path.join(scratch, 'bin'));
    const runtime = { name: 'onnxruntime-node', version: '1.22.0' }; // its manifest alone
    const stub = path.join(scratch, 'stub');
    entries = [
      ...(await packAll()),
      ...dependencies(path.join(scratch, 'cache')),
      manifestOnly(runtime, stub),
    ];
  });

  after(() => {
    if (scratch !== '') rmSync(scratch, { recursive: true, force: true });
  });

  /** Installs in a fresh project from these packages; tells how it went and what was asked for. */
  async function install(name: string, packages: readonly Entry[], flags: readonly string[]) {
    const registry = await startRegistry(packages);
    const cwd = path.join(scratch, name);
    const env = { PATH: bin, HOME: path.join(scratch, `home-${name}`) };
    try {
      writeProject(cwd, manifest.version, registry.url);
      const args = [npm(), 'install', '--no-audit', '--no-fund', ...flags];
      const result = await run(process.execPath, args, { cwd, env });
      return { ...result, cwd, env, asked: registry.asked };
    } finally {
      await registry.stop();
    }
  }

  async function told(where: { cwd: string; env: Record<string, string> }, file: string) {
    const ran: Ran = await run(process.execPath, [file], where);
    expect(ran.code, ran.output).to.equal(0);
    return JSON.parse(readFileSync(path.join(where.cwd, 'told.json'), 'utf8')) as Told;
  }

  it('with scripts off the platform package is enough, imported and required', async () => {
    const at = await install('off', entries, ['--ignore-scripts']);
    expect(at.code, at.output).to.equal(0);
    expect([...at.asked])
      .to.include(PLATFORM)
      .and.not.include('cmake-js');
    for (const file of ['use.mjs', 'use.cjs']) {
      const { version, isa, layers, native } = await told(at, file);
      expect(version).to.equal(manifest.version);
      expect(isa).to.match(/^(avx512|avx2|sse2|neon)$/);
      expect(layers).to.be.above(0);
      expect(native).to.have.length(5);
    }
  });

  it('without it and without a compiler it is installed, too, and the error names the package', async () => {
    const without = entries.filter((entry) => entry.manifest.name !== PLATFORM);
    const at = await install('none', without, ['--foreground-scripts']);
    expect(at.code, at.output).to.equal(0);
    expect(at.output)
      .to.match(/cannot be built, for want of/)
      .and.match(/npx partlens build/);
    const { isa, layers, native } = await told(at, 'use.mjs');
    expect(layers, 'inspect needs no addon').to.be.above(0);
    for (const failure of [isa, native]) {
      expect(failure).to.include({ known: true, code: 'E_BACKEND' });
      const { message } = failure as { message: string };
      expect(message).to.contain(`npm install ${PLATFORM}@${manifest.version}\n`);
      expect(message).to.contain('npx partlens build');
    }
  });
});
