// Builds binding.gyp for another architecture of Linux with one of Debian's cross compilers.
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { nodeGyp } from './build_native.mjs';
import { root } from './toolchain.mjs';

/** Resolves with the folder that then has build/Release, beside links to the sources. */
export async function crossBuild({ cpu, cross }, folder = join(root, 'build/cross', cpu)) {
  mkdirSync(folder, { recursive: true });
  for (const name of ['native', 'scripts', 'node_modules', 'binding.gyp', 'package.json']) {
    if (!existsSync(join(folder, name))) symlinkSync(join(root, name), join(folder, name));
  }
  const env = { CXX: `${cross}g++`, AR: `${cross}ar`, LINK: `${cross}g++` };
  await nodeGyp({ cwd: folder, env, arch: cpu });
  return folder;
}
