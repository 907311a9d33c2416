// npm run bench: the CPU kernels against PyTorch in one process, as ratios. Needs python3 with torch
// (Debian: python3-torch); without it the kernels are timed alone and that is said.
// npm run bench -- train: whole training steps, see train/main.ts; -- curve: train/curve.ts;
// -- inference: inference.ts.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { gradient } from '../lib/engine/grad.js';
import { Graph } from '../lib/engine/graph.js';
import { conv2d, linear } from '../lib/engine/ops/index.js';
import { createSession } from '../lib/engine/session.js';
import { sizeOf } from '../lib/engine/tensor.js';
import { findTorch, torchEnvironment } from './train/peer.js';

const peer = fileURLToPath(new URL('peers/torch_kernels.py', import.meta.url));
const REPEATS = 9;

/** Times forward and backward of one graph by itself: median milliseconds and GFLOP/s of each kernel. */
async function timeAlone(
  name: string,
  flops: number,
  build: (graph: Graph) => void,
): Promise<void> {
  const graph = new Graph();
  build(graph);
  const session = await createSession({ programs: { run: graph }, backend: 'cpu' });
  try {
    const fill = (length: number): Float32Array =>
      Float32Array.from({ length }, (_, i) => Math.sin(12.9898 * i) * 0.5);
    for (const [parameter, { shape }] of session.persistent()) {
      await session.write({ [parameter]: fill(sizeOf(shape)) });
    }
    const program = session.program('run');
    const inputs = [...program.inputs].map(([input, slot]) => [
      input,
      fill(sizeOf(program.slots[slot]?.shape ?? [])),
    ]);
    const times = new Map<string, number[]>();
    for (let i = 0; i <= REPEATS; i++) {
      await session.run('run', {
        inputs: Object.fromEntries(inputs) as Record<string, Float32Array>,
      });
      if (i === 0) continue; // warm up
      for (const { kernel, nanoseconds } of session.profile('run')) {
        times.set(kernel, [...(times.get(kernel) ?? []), nanoseconds]);
      }
    }
    for (const [kernel, all] of times) {
      const median = all.sort((a, b) => a - b)[REPEATS >> 1] ?? NaN;
      const speed = `${(median / 1e6).toFixed(2)} ms ${(flops / median).toFixed(0)} GFLOP/s`;
      console.log(`${name.padEnd(28)} ${kernel.padEnd(24)} ${speed}`);
    }
  } finally {
    session.dispose();
  }
}

async function alone(): Promise<void> {
  await timeAlone('conv 256->256 14x14 N=32', 2 * 32 * 196 * 256 * 256 * 9, (graph) => {
    const x = graph.parameter('x', [32, 256, 14, 14], { layout: 'maps' });
    const w = graph.parameter('w', [256, 256, 3, 3], { layout: 'conv_weight' });
    const y = conv2d(x, w, undefined, { pad: 1 });
    const grads = gradient([{ of: y, gradient: graph.input('g', y.shape) }], [x, w]);
    for (const grad of [y, ...grads]) if (grad) graph.update(grad);
  });
  await timeAlone('linear 12544->1024 N=64', 2 * 64 * 12544 * 1024, (graph) => {
    const x = graph.parameter('x', [64, 12544]);
    const w = graph.parameter('w', [1024, 12544], { layout: 'linear_weight' });
    const y = linear(x, w, undefined);
    const grads = gradient([{ of: y, gradient: graph.input('g', y.shape) }], [x, w]);
    for (const grad of [y, ...grads]) if (grad) graph.update(grad);
  });
}

async function kernels(): Promise<void> {
  const python = findTorch();
  if (python === undefined) {
    console.log(
      'torch is not installed (Debian: apt-get install python3-torch): no ratios, ours alone.',
    );
    await alone();
    return;
  }
  const options = { stdio: 'inherit', env: torchEnvironment() } as const;
  const { status } = spawnSync(python, [peer, ...process.argv.slice(2)], options);
  process.exitCode = status ?? 1;
}

if (process.argv[2] === 'train') await import('./train/main.js');
else if (process.argv[2] === 'curve') await import('./train/curve.js');
else if (process.argv[2] === 'inference') await import('./inference.js');
else await kernels();
