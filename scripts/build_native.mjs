// node scripts/build_native.mjs (npx partlens build): builds the CPU addon with npm's node-gyp, unless it is
// up to date.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkToolchain,
  fail,
  findNodeGyp,
  hashOf,
  isMain,
  isStamped,
  nodeHeaders,
  root,
  writeStamp,
} from './toolchain.mjs';

const STAMP = 'build/native.stamp';
const SAY_EVERY_MS = 5000;

/** Resolves when the addon is there; ends the process with what to do where it cannot be built. */
export async function buildNative() {
  // of no version of Node: the addon uses Node-API alone
  const stamp = hashOf('native', 'binding.gyp', 'scripts/sources.mjs');
  if (isStamped(STAMP, stamp) && existsSync(join(root, 'build/Release/partlens.node'))) return;
  await nodeGyp({ env: checkToolchain() });
  writeStamp(STAMP, stamp);
}

/** Builds binding.gyp in a folder; tells how far it is. */
export async function nodeGyp({ cwd = root, env = {}, arch = process.arch }) {
  const all = [
    findNodeGyp(),
    'configure',
    'build',
    '--loglevel=warn',
    `--arch=${arch}`,
    ...nodeHeaders(),
  ];
  const child = spawn(process.execPath, all, {
    cwd,
    env: { ...process.env, JOBS: 'max', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  let said = Date.now();
  console.error('partlens: compiling the native addon, a few minutes');
  child.stdout.on('data', (chunk) => {
    output += String(chunk);
    if (Date.now() - said < SAY_EVERY_MS) return;
    said = Date.now();
    console.error(`partlens: compiled ${compiled(output)} of ${filesToCompile(arch)} files`);
  });
  const [code] = await once(child, 'close');
  if (code === 0) return;
  console.error(output.split('\n').slice(-30).join('\n'));
  fail('the native addon did not build, see above.');
}

const compiled = (output) => output.match(/CXX\(target\)|\.cpp$/gm)?.length ?? 0;

/** At most so many: each kernel once for each instruction set. */
function filesToCompile(arch) {
  const count = (folder) =>
    readdirSync(join(root, folder)).filter((name) => name.endsWith('.cpp')).length;
  const sets = arch === 'x64' ? 3 : 1;
  return count('native') - 1 + count('native/simd') + sets * (count('native/ops') + 1);
}

if (isMain(import.meta.url)) await buildNative();
