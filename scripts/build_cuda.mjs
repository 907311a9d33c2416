// npm run build:cuda: the optional CUDA library, by cmake-js from CMakeLists.txt.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
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
    'native/kinds.def',
    'CMakeLists.txt',
  );
  if (isStamped(STAMP, stamp) && existsSync(join(root, 'build/cuda/libpartlens_cuda.so')))
    return true;
  if (!which('cmake')) {
    console.warn('partlens: the CUDA library needs cmake.');
    return false;
  }
  // beside this package or, installed in another project, above it
  const builder = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  const options = ['--directory', root, '--out', 'build/cuda', '--config', 'Release'];
  if (run(process.execPath, [builder, 'compile', ...options, '--log-level', 'error']) !== 0)
    return false;
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
