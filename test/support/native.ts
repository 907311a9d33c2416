import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { loadBinding, type NativeSession } from '../../lib/engine/binding.js';
import { Graph, registry } from '../../lib/engine/graph.js';
import { conv2d, maxpool2d } from '../../lib/engine/ops/index.js';
import { encodeProgram, planPrograms, type Program } from '../../lib/engine/plan.js';
import { LOADER } from './source.js';

/** Path of a file of test/support/. */
export const support = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** A graph as the addon takes it. */
export interface Compiled {
  program: Program;
  words: Int32Array;
  arenaBytes: number;
}

export function encode(program: Program): Int32Array {
  return encodeProgram(program, loadBinding().kernelIndex('cpu', registry));
}

/** Plans and encodes a graph for the CPU. */
export function compile(graph: Graph): Compiled {
  const plan = planPrograms(new Map([['main', graph]]), (type) =>
    loadBinding().bytesOf('cpu', type),
  );
  const program = plan.programs.get('main');
  if (!program) throw new Error('no program');
  return { program, words: encode(program), arenaBytes: plan.arenaBytes };
}

/** A native session for as long as `body` takes. */
export async function use<T>(
  arenaBytes: number,
  body: (session: NativeSession) => T | Promise<T>,
): Promise<T> {
  const session = loadBinding().createSession({ backend: 'cpu', threads: 2, arenaBytes });
  try {
    return await body(session);
  } finally {
    session.dispose();
  }
}

/** x -> conv2d -> maxpool2d -> y, its gradient left out. */
export function convolution(): Graph {
  const graph = new Graph();
  const x = graph.input('x', [2, 3, 8, 8]);
  const w = graph.parameter('w', [4, 3, 3, 3], { layout: 'conv_weight', fill: 0.5 });
  const y = conv2d(x, w, graph.parameter('b', [4]), { pad: 1 });
  graph.output('y', maxpool2d(y, { kernel: 2 }));
  return graph;
}

export interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
  milliseconds: number;
}

/** Runs a script of test/support/ in a process of its own. */
export async function run(script: string, args: string[], flags: string[] = []): Promise<Ended> {
  const loader = script.endsWith('.cjs') ? [] : LOADER;
  const begin = performance.now();
  const child = spawn(process.execPath, [...loader, ...flags, script, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += String(chunk)));
  child.stderr.on('data', (chunk) => (stderr += String(chunk)));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({ code, signal, stdout, stderr, milliseconds: performance.now() - begin });
    });
  });
}
