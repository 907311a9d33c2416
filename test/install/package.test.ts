import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { expect } from 'chai';
import { publint } from 'publint';
import ts from 'typescript';
import { manifest, packAll, PACKED, PLATFORM } from './package_sets.js';
import { root } from './registry.js';

const PROJECT = path.join(root, 'build/packages_test/project');
const PACKAGE = path.join(PROJECT, 'node_modules/partlens');

describe('the packed package', function () {
  this.timeout(0); // a loaded machine fails no test
  let tarball = Buffer.alloc(0);
  let files: string[] = [];

  before(async function () {
    if (process.platform !== 'linux') {
      console.log('      skipped: it needs Linux');
      this.skip();
    }
    await packAll();
    const file = path.join(PACKED, `partlens-${manifest.version}.tgz`);
    tarball = readFileSync(file);
    rmSync(PROJECT, { recursive: true, force: true });
    mkdirSync(PACKAGE, { recursive: true });
    spawnSync('tar', ['-xzf', file, '-C', PACKAGE, '--strip-components=1']);
    files = readdirSync(PACKAGE, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.relative(PACKAGE, path.join(entry.parentPath, entry.name)));
  });

  const text = (file: string): string => readFileSync(path.join(PACKAGE, file), 'utf8');

  it('holds what runs, what a source build needs and the documentation, nothing else', () => {
    const scripts = files.filter((file) => file.startsWith('scripts/'));
    expect(scripts.sort()).to.deep.equal(
      ['build_cuda', 'build_native', 'install', 'sources', 'toolchain'].map(
        (name) => `scripts/${name}.mjs`,
      ),
    );
    expect(files.filter((file) => /\.(png|map|stamp|log|o|node|so)$/.test(file))).to.deep.equal([]);
    expect(files.filter((file) => /^(lib|test|bench|findings|build)\//.test(file))).to.deep.equal(
      [],
    );
    const sources = files.filter(
      (file) => /(?<!\.d)\.c?ts$/.test(file) && !file.startsWith('examples/'),
    );
    expect(sources).to.deep.equal([]);
    expect(files).to.include.members(['dist/index.js', 'dist/index.cjs', 'binding.gyp', 'LICENSE']);
  });

  it('names the platform packages that were packed, of its own version, and one script', () => {
    const packed = JSON.parse(text('package.json')) as Record<string, Record<string, string>>;
    expect(packed['optionalDependencies']).to.deep.equal({ [PLATFORM]: manifest.version });
    expect(packed['scripts']).to.deep.equal({ install: 'node scripts/install.mjs' });
    expect(packed['devDependencies']).to.equal(undefined);
    expect(packed['peerDependencies']).to.deep.equal({
      '@partlens/linux-x64-cuda': manifest.version,
      'onnxruntime-node': '>=1.20',
    });
  });

  it('declares nothing by a file that it has not', () => {
    const has = (cited: string): boolean =>
      files.some((file) => file === cited || file.endsWith(`/${cited}`));
    const missing = files
      .filter((file) => /\.d\.c?ts$/.test(file))
      .flatMap((file) =>
        [...text(file).matchAll(/[\w./-]+\.(?:md|cpp|cu|h|mjs|def|inc)\b/g)]
          .map(([cited]) => cited.replace(/^(\.\.?\/)+/, ''))
          .filter((cited) => !has(cited))
          .map((cited) => `${file}: ${cited}`),
      );
    expect(missing).to.deep.equal([]);
  });

  it('has no fault that publint or arethetypeswrong knows', async () => {
    const bytes = new Uint8Array(tarball);
    const { messages } = await publint({ pack: { tarball: bytes.buffer } });
    expect(messages).to.deep.equal([]);
    const result = await checkPackage(createPackageFromTarballData(bytes));
    expect('problems' in result && result.problems).to.deep.equal([]);
  });

  it('is typed for import and require, and the README compiles under strict', () => {
    const [, example = ''] = /```js\n(import \{[^]*?)```/.exec(text('README.md')) ?? [];
    expect(example).to.contain('trainExplainer');
    const write = (name: string, content: string): string => {
      writeFileSync(path.join(PROJECT, name), content);
      return path.join(PROJECT, name);
    };
    const required = `import partlens = require('partlens');\nexport const version: string = partlens.VERSION;\n`;
    const wrong = `${required}partlens.VERSION = 3;\n`;
    const programs = [write('example.mts', example), write('required.cts', required)];
    expect(faults(programs)).to.deep.equal([]);
    expect(faults([write('wrong.cts', wrong)]), 'types are there').to.have.length(1);
  });
});

/** What the compiler says of programs, under strict and with all declarations checked. */
function faults(programs: string[]): string[] {
  const options: ts.CompilerOptions = {
    ...{ strict: true, noEmit: true, skipLibCheck: false, types: ['node'] },
    ...{ target: ts.ScriptTarget.ES2023, lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'] },
    ...{ module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext },
  };
  return ts
    .getPreEmitDiagnostics(ts.createProgram(programs, options))
    .map(({ file, messageText }) => {
      const where = path.relative(root, file?.fileName ?? '');
      return `${where}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
}
