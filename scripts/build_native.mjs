// Builds the CPU addon with npm's node-gyp, unless it is up to date.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkToolchain,
  fail,
  findNodeGyp,
  hashOf,
  isStamped,
  nodeHeaders,
  root,
  run,
  writeStamp,
} from './toolchain.mjs';

const STAMP = 'build/native.stamp';

export function buildNative() {
  const stamp = `${process.version} ${hashOf('native', 'binding.gyp', 'scripts/sources.mjs')}`;
  if (isStamped(STAMP, stamp) && existsSync(join(root, 'build/Release/partlens.node'))) return;
  const env = { ...process.env, JOBS: 'max', ...checkToolchain() };
  const args = [findNodeGyp(), 'configure', 'build', '--loglevel=warn', ...nodeHeaders()];
  if (run(process.execPath, args, { env }) !== 0)
    fail('the native addon did not build, see above.');
  writeStamp(STAMP, stamp);
}
