// Everything that a fresh clone lacks: packages, addon, dist/, and where a driver of NVIDIA runs the CUDA
// library (PARTLENS_CUDA=off skips it). Does nothing when all is up to date.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { buildCuda } from './build_cuda.mjs';
import { buildDist } from './build_dist.mjs';
import { buildNative } from './build_native.mjs';
import {
  checkToolchain,
  fail,
  hasDriver,
  hashOf,
  isStamped,
  root,
  run,
  which,
  writeStamp,
} from './toolchain.mjs';

const STAMP = 'node_modules/.partlens.stamp';

export async function setUp() {
  checkToolchain();
  const stamp = hashOf('package-lock.json', 'package.json');
  if (!isStamped(STAMP, stamp) || !existsSync(join(root, 'node_modules/typescript'))) {
    const npm = which('npm') ?? fail('npm was not found. It comes with Node.js.');
    // The test's second opinion, onnxruntime-node, would fetch a GPU library that nothing here uses.
    const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' };
    if (run(npm, ['ci', '--no-audit', '--no-fund'], { env }) !== 0)
      fail('npm ci failed, see above.');
    writeStamp(STAMP, stamp);
  }
  await buildNative();
  if (process.env.PARTLENS_CUDA !== 'off' && hasDriver() && which('nvcc') && !buildCuda())
    console.warn('partlens: the CUDA library did not build, see above; the CPU backend is ready.');
  await buildDist();
}

await setUp();
