// The platform packages: what each holds, for which machines, and how it is built here.

const CPU = 'partlens.node';
const GLIBC = ['glibc'];

/** name -> os, cpu, libc as npm reads them; file; `cross`: compiler of Debian for it, `emulator` to run it. */
export const PLATFORMS = {
  'linux-x64': { os: 'linux', cpu: 'x64', libc: GLIBC, file: CPU },
  'linux-arm64': {
    os: 'linux',
    cpu: 'arm64',
    libc: GLIBC,
    file: CPU,
    cross: 'aarch64-linux-gnu-',
  },
  'linuxmusl-x64': { os: 'linux', cpu: 'x64', libc: ['musl'], file: CPU },
  'darwin-arm64': { os: 'darwin', cpu: 'arm64', file: CPU },
  'win32-x64': { os: 'win32', cpu: 'x64', file: CPU },
  'linux-x64-cuda': { os: 'linux', cpu: 'x64', libc: GLIBC, file: 'libpartlens_cuda.so' },
};

/** Name of the package for the machine that this runs on. */
export function hostPlatform() {
  const { header } = process.report.getReport();
  const musl = process.platform === 'linux' && !header.glibcVersionRuntime ? 'musl' : '';
  return `${process.platform}${musl}-${process.arch}`;
}

/** True where the package is installed by itself: the CUDA library is asked for by name. */
export const isOptionalDependency = (name) => !name.endsWith('-cuda');
