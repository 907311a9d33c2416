// npm run bundle: packs Node, the package with its CUDA library, its tests and the GPU check into
// build/partlens-<version>-linux-x64.tar.xz, for an x86-64 Linux server without network, compilers or
// Node.js: glibc 2.34 or newer and libstdc++ are enough. docs/gpu.md says how to use it.
//   --folder DIR         the unpacked bundle in DIR instead
//   --cuda-library LIB   another library than that of npm run build:cuda
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildCuda } from './build_cuda.mjs';
import { checkElf } from './bundle_elf.mjs';
import { fail, root, run, which } from './toolchain.mjs';
import './setup.mjs';

const MOST_BYTES = 40e6;
const BUILD_ONLY = ['node-addon-api']; // headers of the addon
const FOR_TESTS = ['mocha', 'chai'];
const SOURCES = ['package.json', 'LICENSE', 'bin', 'cuda', 'native', 'docs/export.md'];
// Those of what a bundle lacks: compilers, the emulator, this script.
const LEFT_OUT = ['cuda', 'native', 'install', 'architecture.test.ts', 'bundle.test.ts'];

const { values: options } = parseArgs({
  options: { folder: { type: 'string' }, 'cuda-library': { type: 'string' } },
});
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const name = `partlens-${version}-linux-x64`;

/** Starters at the top; `here` is the bundle's folder, found without any tool but sh. */
const START =
  '#!/bin/sh\ncase $0 in */*) here=${0%/*} ;; *) here=. ;; esac\nhere=$(cd "$here" && pwd)\n';
const starters = (commit) => ({
  partlens: 'exec "$here/bin/node" "$here/app/bin/partlens.js" "$@"\n',
  test:
    'cd "$here/app" || exit 1\n[ $# -gt 0 ] || set -- "test/**/*.test.js"\n' +
    'exec "$here/bin/node" node_modules/mocha/bin/mocha.js --no-config --timeout 120000 "$@"\n',
  'gpu-check': `exec python3 "$here/app/bench/gpu_check.py" --commit ${commit} "$@"\n`,
});

/** Folders of packages and of all that they need at run time, by package-lock.json. */
function packagesOf(names) {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const find = (from, wanted) => {
    for (let at = from; ; at = at.slice(0, Math.max(at.lastIndexOf('/node_modules/'), 0))) {
      const path = `${at}${at && '/'}node_modules/${wanted}`;
      if (packages[path]) return path;
      if (at === '') return undefined;
    }
  };
  const found = new Set();
  const add = (from, wanted) => {
    const path = find(from, wanted);
    if (!path || found.has(path) || !statSync(join(root, path), { throwIfNoEntry: false })) return;
    found.add(path);
    const { dependencies = {}, optionalDependencies = {} } = packages[path];
    for (const each of Object.keys({ ...dependencies, ...optionalDependencies })) add(path, each);
  };
  for (const each of names) add('', each);
  return [...found];
}

const isNeeded = (path) => !/\.map$|\.[cm]?ts$|\/__pycache__$|\.stamp$/.test(path);

function copy(app, from, to = from) {
  cpSync(join(root, from), join(app, to), { recursive: true, filter: isNeeded, dereference: true });
}

/**
 * Every test but those of LEFT_OUT and what they read of bench/ as JavaScript beside dist/, which takes the
 * place of lib/, and the modules of the pages, which dist/ has bundled only.
 */
async function addTests(app) {
  const { build } = await import('esbuild');
  const common = { format: 'esm', platform: 'node', target: 'node20', logLevel: 'warning' };
  const compile = (from, to) => {
    const entryPoints = readdirSync(join(root, from), { recursive: true })
      .filter((file) => file.endsWith('.ts') && !LEFT_OUT.includes(file.split('/')[0]))
      .map((file) => join(root, from, file));
    return build({ entryPoints, outdir: join(app, to), outbase: join(root, from), ...common });
  };
  await compile('test', 'test');
  await compile('bench', 'bench');
  await compile('lib/report/page', 'dist/report/page');
  copy(app, 'test/support/addon_process.cjs');
  symlinkSync('dist', join(app, 'lib'));
}

/** The GPU check: Python and C sources, and the program that the sanitizers run. */
function addChecks(app) {
  for (const each of ['bench/gpu_check.py', 'bench/gpu', 'bench/peers']) copy(app, each);
  for (const each of ['small_shapes.cpp', 'small_shapes.h']) copy(app, `test/native/${each}`);
  const flags =
    '-std=c++17 -O1 -pthread -Inative -static-libstdc++ -Wl,--exclude-libs,ALL,--gc-sections';
  const files = ['test/native/small_shapes.cpp', '-o', join(app, 'build/cuda/small_shapes')];
  if (run('g++', [...flags.split(' '), ...files, '-ldl']) !== 0)
    fail('small_shapes did not build.');
}

async function fill(folder) {
  const app = join(folder, 'app');
  mkdirSync(join(folder, 'bin'), { recursive: true });
  for (const each of [...SOURCES, 'dist']) copy(app, each);
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const wanted = Object.keys(dependencies).filter((each) => !BUILD_ONLY.includes(each));
  for (const each of packagesOf([...wanted, ...FOR_TESTS])) copy(app, each);
  copy(app, 'build/Release/partlens.node');
  const library = options['cuda-library'] ?? join(root, 'build/cuda/libpartlens_cuda.so');
  mkdirSync(join(app, 'build/cuda'), { recursive: true });
  cpSync(library, join(app, 'build/cuda/libpartlens_cuda.so'));
  cpSync(process.execPath, join(folder, 'bin/node'));
  await addTests(app);
  addChecks(app);
  const stripped = ['bin/node', 'app/build/Release/partlens.node', 'app/build/cuda/small_shapes'];
  if (
    run(
      'strip',
      stripped.map((file) => join(folder, file)),
    ) !== 0
  )
    fail('strip failed.');
  for (const [starter, text] of Object.entries(starters(commitHash()))) {
    writeFileSync(join(folder, starter), START + text);
    chmodSync(join(folder, starter), 0o755);
  }
}

function commitHash() {
  try {
    const git = ['rev-parse', '--short', 'HEAD'];
    return execFileSync('git', git, { cwd: root, encoding: 'utf8' }).trim();
  } catch {
    return 'unknown'; // not in a clone
  }
}

function compress(parent) {
  const file = join(root, 'build', `${name}.tar.xz`);
  const xz = 'xz --x86 --lzma2=preset=9,dict=64MiB';
  const owner = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner'];
  if (run('tar', [...owner, '-I', xz, '-cf', file, '-C', parent, name]) !== 0) fail('tar failed.');
  const { size } = statSync(file);
  if (size > MOST_BYTES) fail(`${file} has ${(size / 1e6).toFixed(1)} MB, more than 40.`);
  console.log(`build/${name}.tar.xz ${(size / 1e6).toFixed(1)} MB`);
}

if (process.platform !== 'linux' || process.arch !== 'x64')
  fail('A bundle is made on x86-64 Linux.');
const lacking = ['g++', 'objdump', 'strip', 'tar', 'xz'].filter((tool) => !which(tool));
if (lacking.length > 0) fail(`A bundle needs ${lacking.join(', ')} (Debian: g++, tar, xz-utils).`);
if (options['cuda-library'] === undefined) {
  if (!which('nvcc')) fail('A bundle needs nvcc, of the CUDA toolkit, for its CUDA library.');
  if (!buildCuda()) fail('The CUDA library did not build, see above.');
}
const parent = options.folder ?? join(root, 'build/bundle');
rmSync(join(parent, name), { recursive: true, force: true });
await fill(join(parent, name));
checkElf(join(parent, name));
if (options.folder === undefined) {
  compress(parent);
  rmSync(parent, { recursive: true });
}
