// npm's install step: the CPU addon always, the CUDA library where nvcc is found (PARTLENS_CUDA=off
// skips it).
import { buildCuda } from './build_cuda.mjs';
import { buildNative } from './build_native.mjs';
import { which } from './toolchain.mjs';

buildNative();
if (process.env.PARTLENS_CUDA !== 'off' && which('nvcc') && !buildCuda()) {
  console.warn('partlens: the CUDA library did not build, see above; the CPU backend is ready.');
}
