import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { findCudaLibrary, loadAddon, platformName } from '../../lib/engine/addon.js';
import { PartlensError } from '../../lib/errors.js';
import { VERSION } from '../../lib/version.js';

describe('where the addon is found', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'partlens-addon-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  /** Installs a package of one file; `module` is JavaScript in place of an addon. */
  function install(name: string, file: string, { version = VERSION, module = '' } = {}): void {
    const at = path.join(folder, 'node_modules/@partlens', name);
    mkdirSync(at, { recursive: true });
    writeFileSync(path.join(at, 'package.json'), JSON.stringify({ version }));
    writeFileSync(path.join(at, file), module);
  }
  const places = () => ({
    build: path.join(folder, 'build'),
    resolve: (specifier: string) => {
      return createRequire(path.join(folder, 'package.json')).resolve(specifier);
    },
  });
  function failure(options: Parameters<typeof loadAddon>[0]): PartlensError {
    try {
      loadAddon(options);
    } catch (error) {
      if (error instanceof PartlensError) return error;
    }
    throw new Error('no PartlensError');
  }

  it('nowhere: one error that names the package and the command', () => {
    const error = failure({ ...places(), platform: 'linuxmusl-x64' });
    expect(error.code).to.equal('E_BACKEND');
    expect(error.message)
      .to.contain(`npm install @partlens/linuxmusl-x64@${VERSION}\n`)
      .and.contain('npx partlens build');
    expect(error.details).to.deep.equal({ package: `@partlens/linuxmusl-x64@${VERSION}` });
    const other = failure({ ...places(), platform: 'linux-s390x' });
    expect(other.message).to.contain('no prebuilt one').and.not.contain('npm install');
  });

  it('of another version, or one that cannot be loaded: named, with the same remedy', () => {
    install('linux-x64', 'partlens.node', { version: '0.0.1' });
    const old = failure({ ...places(), platform: 'linux-x64' });
    expect(old.message)
      .to.match(/of version 0\.0\.1, partlens of/)
      .and.contain('npm install');
    install('linux-arm64', 'partlens.node', { module: 'no library' });
    const broken = failure({ ...places(), platform: 'linux-arm64' });
    expect(broken.message)
      .to.match(/cannot be loaded: /)
      .and.contain('npm install');
  });

  it('a build of this package comes before the platform package', () => {
    install('linux-x64', 'partlens.node', { module: 'installed' });
    mkdirSync(path.join(folder, 'build/Release'), { recursive: true });
    writeFileSync(path.join(folder, 'build/Release/partlens.node'), 'built');
    const { message } = failure({ ...places(), platform: 'linux-x64' });
    expect(message).to.contain('build/Release/partlens.node cannot be loaded');
    expect(message).to.contain('Build it again');
  });

  it('the CUDA library: built, else installed, else none', () => {
    expect(findCudaLibrary(places())).to.equal(undefined);
    install('linux-x64-cuda', 'libpartlens_cuda.so');
    expect(findCudaLibrary(places())).to.match(/linux-x64-cuda\/libpartlens_cuda\.so$/);
    mkdirSync(path.join(folder, 'build/cuda'), { recursive: true });
    writeFileSync(path.join(folder, 'build/cuda/libpartlens_cuda.so'), '');
    expect(findCudaLibrary(places())).to.match(/build\/cuda\/libpartlens_cuda\.so$/);
  });

  it('this machine has a name', () => {
    expect(platformName()).to.match(/^[a-z0-9]+-[a-z0-9]+$/);
  });
});
