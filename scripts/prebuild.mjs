// npm run prebuild -- PLATFORM...: builds platform packages (docs/platforms.md) and packs them, with the
// package itself, to build/packages/*.tgz, ready for npm publish.
//   host           the platform of this machine
//   --check        also loads what was built, linux-arm64 in qemu-aarch64, and fails where it needs a newer glibc
//   --out DIR      another folder than build/packages
//   --collect DIR  takes platform packages that other machines packed from DIR
// Without arguments it only says so: npm runs a script of this name before `npm run build`, too.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildCuda } from './build_cuda.mjs';
import { buildDist } from './build_dist.mjs';
import { buildNative } from './build_native.mjs';
import { GLIBC, glibcOf } from './bundle_elf.mjs';
import { crossBuild } from './cross_build.mjs';
import { hostPlatform, isOptionalDependency, PLATFORMS } from './platforms.mjs';
import { checkAddon } from './prebuild_check.mjs';
import { fail, isMain, root, run, which } from './toolchain.mjs';

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** Builds the file of a platform; its path. */
async function build(name) {
  const { file, cross } = PLATFORMS[name];
  if (name === 'linux-x64-cuda') {
    if (!buildCuda()) fail('the CUDA library was not built, see above.');
    return join(root, 'build/cuda', file);
  }
  if (name === hostPlatform()) {
    await buildNative();
    return join(root, 'build/Release', file);
  }
  if (!cross || hostPlatform() !== 'linux-x64')
    fail(`${name} is built on such a machine: see docs/platforms.md.`);
  if (!which(`${cross}g++`)) fail(`${name} needs ${cross}g++ (Debian: g++-${cross.slice(0, -1)}).`);
  return join(await crossBuild(PLATFORMS[name]), 'build/Release', file);
}

/** A platform package in a folder: the binary, what it is, the licence. */
function fill(folder, name, { binary, check }) {
  const { os, cpu, libc, file, cross = '' } = PLATFORMS[name];
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const target = join(folder, file);
  cpSync(binary, target);
  if (os === 'linux' && run(`${cross}strip`, [target]) !== 0) fail('strip failed.');
  const glibc = libc === undefined || libc[0] === 'musl' ? '' : glibcOf(target, cross);
  const [major = 0, minor = 0] = glibc.split('.').map(Number);
  if (check && (major > GLIBC[0] || minor > GLIBC[1]))
    fail(
      `${name} needs glibc ${glibc}, more than ${GLIBC.join('.')}: build it on an older system.`,
    );
  const needs = glibc === '' ? '' : `\n\nNeeds glibc ${glibc} or newer.`;
  const what = file.endsWith('.node') ? 'native addon' : 'CUDA library';
  const description = `The ${what} of partlens for ${name}`;
  writeFileSync(join(folder, 'README.md'), `# @partlens/${name}\n\n${description}.${needs}\n`);
  cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  const { version, license, engines } = manifest;
  const machine = { os: [os], cpu: [cpu], ...(libc ? { libc } : {}) };
  const content = {
    ...{ name: `@partlens/${name}`, version, description, license, engines },
    ...{ main: file, files: [file], preferUnplugged: true, ...machine },
  };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(content, null, 2)}\n`);
}

function pack(folder, out) {
  const args = ['pack', '--silent', '--ignore-scripts', '--pack-destination', out];
  execFileSync(which('npm') ?? 'npm', args, {
    cwd: folder,
    shell: process.platform === 'win32',
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/**
 * Packs the package with the platform packages that lie in `out` as optional dependencies of exact version.
 * They are not in package.json: a clone would ask a registry for them at every npm ci.
 */
export function packMain(out) {
  const { version } = manifest;
  const there = Object.keys(PLATFORMS).filter(
    (name) =>
      isOptionalDependency(name) && existsSync(join(out, `partlens-${name}-${version}.tgz`)),
  );
  const staging = join(out, 'partlens');
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  const listed = JSON.parse(
    execFileSync(which('npm') ?? 'npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: root,
      shell: process.platform === 'win32',
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    }),
  );
  const [packed] = Array.isArray(listed) ? listed : Object.values(listed); // npm 11; npm 12
  for (const { path } of packed.files) cpSync(join(root, path), join(staging, path));
  const { scripts } = manifest;
  const names = there.map((name) => [`@partlens/${name}`, version]);
  const content = {
    ...manifest,
    devDependencies: undefined, // JSON leaves these out
    allowScripts: undefined,
    scripts: { install: scripts.install },
    ...(names.length > 0 ? { optionalDependencies: Object.fromEntries(names) } : {}),
  };
  writeFileSync(join(staging, 'package.json'), `${JSON.stringify(content, null, 2)}\n`);
  pack(staging, out);
  rmSync(staging, { recursive: true });
  return join(out, `partlens-${version}.tgz`);
}

/** Builds and packs platforms, then the package; resolves with nothing. */
export async function prebuild(names, { out, check = false }) {
  mkdirSync(out, { recursive: true });
  for (const name of names) {
    const folder = join(out, name);
    fill(folder, name, { binary: await build(name), check });
    if (check) await checkAddon(name, join(folder, PLATFORMS[name].file));
    pack(folder, out);
    console.log(`partlens: @partlens/${name}${check ? ', checked' : ''}`);
  }
  if (!(await buildDist())) fail('TypeScript is not installed: run npm ci first.');
  packMain(out);
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      check: { type: 'boolean' },
      out: { type: 'string', default: join(root, 'build/packages') },
      collect: { type: 'string' },
    },
  });
  if (process.argv.length === 2) {
    console.log('partlens: npm run prebuild -- host [--check] makes platform packages.');
    return;
  }
  const names = (positionals.length > 0 ? positionals : values.collect ? [] : ['host']).map(
    (name) => (name === 'host' ? hostPlatform() : name),
  );
  const wrong = names.filter((name) => !(name in PLATFORMS));
  if (wrong.length > 0)
    fail(`one of ${Object.keys(PLATFORMS).join(', ')}, not ${wrong.join(' ')}.`);
  const out = resolve(values.out);
  mkdirSync(out, { recursive: true });
  for (const file of values.collect ? readdirSync(values.collect, { recursive: true }) : []) {
    if (/(^|[\\/])partlens-[a-z].*\.tgz$/.test(file))
      cpSync(join(values.collect, file), join(out, file.split(/[\\/]/).at(-1)));
  }
  await prebuild(names, { out, check: values.check });
  for (const file of readdirSync(out).filter((each) => each.endsWith('.tgz'))) console.log(file);
}

if (isMain(import.meta.url)) await main();
