// npm run build:cuda (npx partlens build --cuda): the optional CUDA library, by cmake-js from CMakeLists.txt.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fail, hashOf, isMain, isStamped, root, run, which, writeStamp } from './toolchain.mjs';

const STAMP = 'build/cuda.stamp';
const CMAKE_JS = 'cmake-js@8.0.0';

/** True when the library is there and up to date. Asked for, never done because nvcc is there. */
export function buildCuda() {
  const stamp = hashOf(
    'cuda',
    'native/backend.h',
    'native/kernels.def',
    'native/attrs.def',
    'native/kinds.def',
    'CMakeLists.txt',
  );
  if (isStamped(STAMP, stamp) && existsSync(join(root, 'build/cuda/libpartlens_cuda.so')))
    return true;
  const missing = ['nvcc', 'cmake'].filter((tool) => !which(tool));
  const builder = cmakeJs();
  if (missing.length > 0 || !builder) {
    const all = [...missing, ...(builder ? [] : [`cmake-js (npm install --no-save ${CMAKE_JS})`])];
    console.error(`partlens: the CUDA library cannot be built, for want of ${all.join(', ')}.`);
    return false;
  }
  forgetMovedBuild();
  const options = ['--directory', root, '--out', 'build/cuda', '--config', 'Release'];
  if (run(process.execPath, [builder, 'compile', ...options, '--log-level', 'error']) !== 0)
    return false;
  writeStamp(STAMP, stamp);
  return true;
}

/** Beside this package or, installed in another project, above it. */
function cmakeJs() {
  try {
    return createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  } catch {
    return undefined;
  }
}

/** A copied folder names the place that it came from: CMake would build there, again and again. */
function forgetMovedBuild() {
  const cache = join(root, 'build/cuda/CMakeCache.txt');
  if (!existsSync(cache)) return;
  const [, home] = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8')) ?? [];
  if (home !== root) rmSync(join(root, 'build/cuda'), { recursive: true });
}

if (isMain(import.meta.url) && !buildCuda()) fail('the CUDA library was not built, see above.');
