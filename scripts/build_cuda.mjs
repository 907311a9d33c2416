// npm run build:cuda: the optional CUDA library, by cmake-js from CMakeLists.txt.
import { existsSync } from 'node:fs';
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
  const builder = join(root, 'node_modules/cmake-js/bin/cmake-js');
  if (!existsSync(builder) || !which('cmake')) {
    console.warn('partlens: the CUDA library needs cmake and the development packages (npm ci).');
    return false;
  }
  const args = [
    builder,
    'compile',
    '--out',
    'build/cuda',
    '--config',
    'Release',
    '--log-level',
    'error',
  ];
  if (run(process.execPath, args) !== 0) return false;
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
