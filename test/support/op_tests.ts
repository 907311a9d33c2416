import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { LOADER } from './source.js';

export interface Finished {
  code: number | null;
  output: string;
}

/** Runs a program and collects what it writes. */
export async function finished(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Finished> {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  child.stderr.on('data', (chunk) => (output += String(chunk)));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, output });
    });
  });
}

/** Runs test files (all op tests, small cases only, unless named) in a process with other settings. */
export async function opTests(
  env: NodeJS.ProcessEnv,
  names?: readonly string[],
): Promise<Finished> {
  const folder = fileURLToPath(new URL('../', import.meta.url));
  const files =
    names ?? readdirSync(path.join(folder, 'ops')).filter((name) => /\.test\.[jt]s$/.test(name));
  const specs = files.map((name) => path.join(folder, names ? '' : 'ops', name));
  const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js');
  const options = ['--no-config', '--reporter', 'dot', '--timeout', '120000', '--forbid-only'];
  return finished(process.execPath, [...LOADER, mocha, ...options, ...specs], {
    PARTLENS_TEST_SMALL: '1',
    ...env,
  });
}
