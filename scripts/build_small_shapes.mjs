// node scripts/build_small_shapes.mjs [x64|arm64]: links what binding.gyp compiles from native/ to
// build/small_shapes/<arch>/libpartlens_cpu.so, and small_shapes beside it. For arm64 binding.gyp is built
// with Debian's cross compiler first.
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildNative } from './build_native.mjs';
import { compile } from './compile.mjs';
import { crossBuild } from './cross_build.mjs';
import { hashOf, isStamped, root, which, writeStamp } from './toolchain.mjs';

const TARGETS = {
  x64: { cross: '', emulator: [] },
  arm64: {
    cross: 'aarch64-linux-gnu-',
    emulator: ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'],
  },
};
const INPUTS = [
  'native',
  'test/native',
  'binding.gyp',
  'scripts/sources.mjs',
  'scripts/build_small_shapes.mjs',
];

/**
 * Builds for an architecture if it is not up to date; resolves with the command that runs its small_shapes on
 * its library.
 */
export async function buildSmallShapes(arch) {
  const { cross, emulator } = TARGETS[arch];
  const compiler = `${cross}g++`;
  const folder = join(root, 'build/small_shapes', arch);
  const [runner, library] = ['small_shapes', 'libpartlens_cpu.so'].map((name) =>
    join(folder, name),
  );
  const command = [...emulator, runner, library];
  const stamp = hashOf(...INPUTS);
  if (isStamped(`build/small_shapes/${arch}/stamp`, stamp)) return command;
  mkdirSync(folder, { recursive: true });
  const native = arch === process.arch;
  await (native ? buildNative() : crossBuild({ cpu: arch, cross }, folder));
  const release = join(native ? root : folder, 'build/Release');
  const objects = join(release, 'obj.target/partlens/native');
  const parts = [
    join(objects, 'cpu_dispatch.o'),
    ...readdirSync(join(objects, 'simd')).map((name) => join(objects, 'simd', name)),
    ...readdirSync(release).map((name) => join(release, name)),
  ].filter((path) => /(\.o|kernels_\w+\.a)$/.test(path));
  const common = ['-std=c++17', '-O1', '-Wall', '-Wextra', '-Inative', '-pthread'];
  const linked = [
    '-shared',
    '-fPIC',
    '-Wl,--no-undefined',
    'test/native/cpu_library.cpp',
    ...parts,
  ];
  await compile(compiler, [...common, 'test/native/small_shapes.cpp', '-o', runner, '-ldl']);
  await compile(compiler, [...common, ...linked, '-o', library]);
  writeStamp(`build/small_shapes/${arch}/stamp`, stamp);
  return command;
}

/** What is missing to build and run for an architecture; empty where it can be done. */
export function missingFor(arch) {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'Linux on x86-64';
  const { cross, emulator } = TARGETS[arch];
  const compiler = `${cross}g++`;
  return [compiler, ...emulator.slice(0, 1)].filter((tool) => !which(tool)).join(' and ');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const arch = process.argv[2] ?? 'x64';
  if (!(arch in TARGETS)) throw new Error(`one of ${Object.keys(TARGETS).join(', ')}`);
  console.log((await buildSmallShapes(arch)).join(' '));
}
