// Runs compilers side by side, for the libraries that only tests use.
import { spawn } from 'node:child_process';
import { root } from './toolchain.mjs';

/** Runs a compiler, in the package's folder unless told otherwise; rejects with what it wrote. */
export function compile(compiler, args, options = {}) {
  return new Promise((resolve, reject) => {
    const stdio = ['ignore', 'ignore', 'pipe'];
    const child = spawn(compiler, args, { cwd: root, ...options, stdio });
    let output = '';
    child.stderr.on('data', (chunk) => (output += String(chunk)));
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`${compiler} ${args.join(' ')}\n${output}`)),
    );
  });
}

/** Runs at most `width` of the tasks at once. */
export async function inParallel(width, tasks) {
  const waiting = [...tasks];
  const next = async () => {
    for (let task = waiting.shift(); task; task = waiting.shift()) await task();
  };
  await Promise.all(Array.from({ length: width }, next));
}
