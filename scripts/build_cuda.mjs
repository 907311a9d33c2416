// npm run build:cuda: the optional CUDA library, by cmake from CMakeLists.txt.
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { hashOf, isStamped, root, run, which, writeStamp } from './toolchain.mjs';

const STAMP = 'build/cuda.stamp';

/** True when the library is there and up to date. */
export function buildCuda() {
  const stamp = hashOf(
    'cuda',
    'native/backend.h',
    'native/kernels.def',
    'native/attrs.def',
    'CMakeLists.txt',
  );
  if (isStamped(STAMP, stamp) && existsSync(join(root, 'build/cuda/libpartlens_cuda.so')))
    return true;
  if (!which('cmake')) {
    console.warn('partlens: the CUDA library needs cmake.');
    return false;
  }
  const configure = ['-S', '.', '-B', 'build/cuda', '-DCMAKE_BUILD_TYPE=Release'];
  if (run('cmake', configure) !== 0) return false;
  const jobs = String(availableParallelism());
  if (run('cmake', ['--build', 'build/cuda', '--parallel', jobs]) !== 0) return false;
  writeStamp(STAMP, stamp);
  return true;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  if (!which('nvcc')) {
    console.error('partlens: nvcc was not found. Install the CUDA toolkit, then run this again.');
    process.exit(1);
  }
  process.exit(buildCuda() ? 0 : 1);
}
