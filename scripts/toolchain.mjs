// What a build needs, where it is, and how to get what is missing. No dependency: runs before npm ci.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** Folder of the package. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** Path of a command, or undefined. */
export function which(command) {
  const ends = process.platform === 'win32' ? ['.exe', '.cmd'] : [''];
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = ends.map((end) => join(folder, command + end)).find((file) => existsSync(file));
    if (folder !== '' && path) return path;
  }
  return undefined;
}

/** Runs a command with its output shown; returns the exit code. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (error) console.error(`${command}: ${error.message}`);
  return status ?? 1;
}

/** Prints a sentence and ends with exit code 1. */
export function fail(text) {
  console.error(`partlens: ${text}`);
  process.exit(1);
}

const GET = {
  python3: ['apt-get install python3', 'dnf install python3', 'xcode-select --install'],
  make: ['apt-get install make', 'dnf install make', 'xcode-select --install'],
  'g++ or clang++': ['apt-get install g++', 'dnf install gcc-c++', 'xcode-select --install'],
};

/** The compiler to use, as environment variables for node-gyp. Ends the process when a tool is missing. */
export function checkToolchain() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19))
    fail(`Node.js 20.19 or newer is needed, this is ${process.versions.node}. See nodejs.org.`);
  if (process.platform === 'win32') return {}; // node-gyp finds Visual Studio and Python itself
  const compiler = process.env.CXX ?? ['g++', 'clang++'].find((name) => which(name));
  const missing = Object.keys(GET).filter((tool) =>
    tool === 'g++ or clang++' ? compiler === undefined : which(tool) === undefined,
  );
  if (missing.length > 0) {
    const lines = missing.map((tool) => {
      const [debian, fedora, mac] = GET[tool];
      return `  ${tool}: ${debian} (Debian, Ubuntu), ${fedora} (Fedora), ${mac} (macOS)`;
    });
    fail(
      `the native addon cannot be built, for want of ${missing.join(', ')}.\n${lines.join('\n')}`,
    );
  }
  if (process.env.CXX !== undefined || which('g++')) return {};
  return { CXX: 'clang++', CC: 'clang' };
}

/** npm's own node-gyp: no package of ours. */
export function findNodeGyp() {
  const beside = (npm) => join(dirname(dirname(npm)), 'node_modules/node-gyp/bin/node-gyp.js');
  const npm = which('npm');
  const places = [
    process.env.npm_config_node_gyp,
    npm && beside(realpathSync(npm)),
    process.env.npm_execpath && beside(process.env.npm_execpath),
    join(
      dirname(process.execPath),
      '../lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js',
    ),
  ];
  places.push(
    join(dirname(process.execPath), 'node_modules/npm/node_modules/node-gyp/bin/node-gyp.js'),
  );
  const found = places.find((place) => place && existsSync(place));
  return found ?? fail('node-gyp was not found beside npm. Install npm: it comes with Node.js.');
}

/** True where a driver of NVIDIA runs. */
export function hasDriver() {
  return ['/proc/driver/nvidia/version', '/usr/lib/wsl/lib/libcuda.so.1'].some(existsSync);
}

/** True when this is the script that Node was asked to run. */
export function isMain(url) {
  return url === pathToFileURL(process.argv[1] ?? '').href;
}

/** Node's headers where they are installed with Node, so that node-gyp need not fetch them. */
export function nodeHeaders() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  return existsSync(join(prefix, 'include/node/common.gypi')) ? [`--nodedir=${prefix}`] : [];
}

/** Hash of the names and contents of files and folders of the package. */
export function hashOf(...paths) {
  const hash = createHash('sha256');
  const add = (path) => {
    const full = join(root, path);
    if (!existsSync(full)) return;
    const entries = readdirOrUndefined(full);
    if (!entries) hash.update(`${path}\0`).update(readFileSync(full));
    else for (const name of entries) add(join(path, name));
  };
  paths.forEach(add);
  return hash.digest('hex');
}

function readdirOrUndefined(path) {
  try {
    return readdirSync(path).sort();
  } catch {
    return undefined;
  }
}

/** True when `file` holds the stamp. */
export function isStamped(file, stamp) {
  const path = join(root, file);
  return existsSync(path) && readFileSync(path, 'utf8') === stamp;
}

export function writeStamp(file, stamp) {
  mkdirSync(dirname(join(root, file)), { recursive: true });
  writeFileSync(join(root, file), stamp);
}
