import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { PartlensError } from '../errors.js';
import { VERSION } from '../version.js';

const ROOT = new URL('../../', import.meta.url);
const require = createRequire(import.meta.url);
const BUILD = 'npx partlens build (needs python3, make and g++ or clang++)';
/** Platform packages that are made: docs/platforms.md. */
const PREBUILT = ['linux-x64', 'linux-arm64', 'linuxmusl-x64', 'darwin-arm64', 'win32-x64'];

/** Where to look instead, for tests. */
export interface AddonPlaces {
  /** Folder of a build of this package. */
  build?: string;
  /** Finds a file of an installed package. */
  resolve?: (specifier: string) => string;
  platform?: string;
}

/** `linux-x64`, `linuxmusl-x64`, ...: the name of this machine's platform package, without the scope. */
export function platformName(): string {
  const musl = process.platform === 'linux' && !hasGlibc() ? 'musl' : '';
  return `${process.platform}${musl}-${process.arch}`;
}

/** True unless the process says that it runs without glibc. */
function hasGlibc(): boolean {
  // not in every runtime; the types of Node 20 lack excludeNetwork
  const report = process.report as
    (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined;
  if (typeof report?.getReport !== 'function') return true;
  report.excludeNetwork = true; // else names of hosts would be looked up
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime !== undefined;
}

/**
 * The native addon: a build of this package before the platform package of this version. Throws `E_BACKEND`
 * with the package to install where there is none, or where it cannot be loaded.
 */
export function loadAddon({
  build,
  resolve = require.resolve,
  platform,
}: AddonPlaces = {}): unknown {
  const local = `${build ?? fileURLToPath(new URL('build/', ROOT))}/Release/partlens.node`;
  if (existsSync(local)) return open(local, `Build it again: ${BUILD}.`);
  const name = platform ?? platformName();
  const spec = `@partlens/${name}@${VERSION}`;
  const install = PREBUILT.includes(name)
    ? `Install it: npm install ${spec}\nor build it: ${BUILD}.`
    : `There is no prebuilt one for this platform. Build it: ${BUILD}.`;
  const found = installed(`@partlens/${name}`, 'partlens.node', resolve);
  const details = PREBUILT.includes(name) ? { package: spec } : {};
  if (found === undefined) {
    const text = `The native addon for ${name} is not installed.\n${install}`;
    throw new PartlensError('E_BACKEND', text, { details });
  }
  if (found.version !== VERSION) {
    const text = `The native addon ${found.path} is of version ${found.version}, partlens of ${VERSION}.`;
    throw new PartlensError('E_BACKEND', `${text}\n${install}`, { details });
  }
  return open(found.path, install);
}

/** The CUDA library, built here or installed; undefined where there is none. */
export function findCudaLibrary({ build, resolve = require.resolve }: AddonPlaces = {}):
  string | undefined {
  const local = `${build ?? fileURLToPath(new URL('build/', ROOT))}/cuda/libpartlens_cuda.so`;
  if (existsSync(local)) return local;
  return installed('@partlens/linux-x64-cuda', 'libpartlens_cuda.so', resolve)?.path;
}

function installed(
  name: string,
  file: string,
  resolve: (specifier: string) => string,
): { path: string; version: string } | undefined {
  try {
    const path = resolve(`${name}/${file}`);
    const { version } = require(resolve(`${name}/package.json`)) as { version: string };
    return { path, version };
  } catch {
    return undefined;
  }
}

function open(path: string, remedy: string): unknown {
  try {
    return require(path) as unknown;
  } catch (cause) {
    const { message } = cause as Error;
    const text = `The native addon ${path} cannot be loaded: ${message}\n${remedy}`;
    throw new PartlensError('E_BACKEND', text, { cause });
  }
}
