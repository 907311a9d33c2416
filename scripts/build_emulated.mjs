// node scripts/build_emulated.mjs [plain|asan|tsan]: builds cuda/ with g++ against the emulator of
// test/cuda/emulator, to build/emulated/<variant>/libpartlens_cuda.so, and small_shapes beside it.
import { mkdirSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compile, inParallel } from './compile.mjs';
import { hashOf, isStamped, root, which, writeStamp } from './toolchain.mjs';

const FLAGS = {
  plain: ['-O2', '-g1'],
  asan: ['-O1', '-g1', '-fsanitize=address'],
  tsan: ['-O1', '-g1', '-fsanitize=thread'],
};
const INPUTS = [
  'cuda',
  'test/cuda/emulator',
  'test/native/small_shapes.cpp',
  'test/native/small_shapes.h',
  'native/backend.h',
  'native/backend_table.inc',
  'native/kernels.def',
  'native/attrs.def',
  'native/kinds.def',
  'scripts/build_emulated.mjs',
];
const COMMON = ['-std=c++17', '-fPIC', '-Wall', '-Wextra', '-Wno-unknown-pragmas', '-pthread'];

const sources = () =>
  ['cuda', 'cuda/ops'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.cu'))
      .map((name) => `${folder}/${name}`),
  );

/** Compiles one file of cuda/ (or a changed copy of it, whose headers are looked for beside the original). */
function object(variant, source, target, include = []) {
  const paths = ['test/cuda/emulator', 'native', ...include].map((path) => `-I${path}`);
  return compile('g++', [
    ...COMMON,
    ...FLAGS[variant],
    ...paths,
    '-x',
    'c++',
    '-c',
    source,
    '-o',
    target,
  ]);
}

function link(variant, objects, target) {
  const options = ['-shared', '-Wl,--no-undefined'];
  return compile('g++', [...COMMON, ...FLAGS[variant], ...options, ...objects, '-o', target]);
}

const objectName = (source) => `${basename(source, '.cu')}.o`;

/** Builds a variant if it is not up to date; resolves with its folder. */
export async function buildEmulated(variant) {
  const folder = `build/emulated/${variant}`;
  const stamp = hashOf(...INPUTS);
  if (isStamped(`${folder}/stamp`, stamp)) return join(root, folder);
  mkdirSync(join(root, folder), { recursive: true });
  const files = sources();
  const runner = [
    '-Inative',
    'test/native/small_shapes.cpp',
    '-o',
    `${folder}/small_shapes`,
    '-ldl',
  ];
  await inParallel(availableParallelism(), [
    ...files.map((source) => () => object(variant, source, `${folder}/${objectName(source)}`)),
    () => compile('g++', [...COMMON, ...FLAGS[variant], ...runner]),
  ]);
  const objects = files.map((source) => `${folder}/${objectName(source)}`);
  await link(variant, objects, `${folder}/libpartlens_cuda.so`);
  writeStamp(`${folder}/stamp`, stamp);
  return join(root, folder);
}

/**
 * Builds a variant's library in `target` with a changed copy of cuda/ in `changed` for the object of
 * `source`; all other objects are the variant's own.
 */
export async function buildChanged(variant, { changed, source, target }) {
  const folder = await buildEmulated(variant);
  await object(variant, join(changed, source), join(target, objectName(source)));
  const objects = sources().map((file) =>
    file === source ? join(target, objectName(source)) : join(folder, objectName(file)),
  );
  await link(variant, objects, join(target, 'libpartlens_cuda.so'));
}

/** True where the emulator can be built: Linux on x86-64 with g++. */
export function canEmulate() {
  return process.platform === 'linux' && process.arch === 'x64' && which('g++') !== undefined;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const variant = process.argv[2] ?? 'plain';
  if (!(variant in FLAGS)) throw new Error('one of plain, asan, tsan');
  console.log(await buildEmulated(variant));
}
