import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TrainOptions } from '../../lib/explainer/options.js';

const server = fileURLToPath(new URL('../peers/torch_train.py', import.meta.url));

/** OpenBLAS chooses its kernels by the machine unless these two tell it otherwise: PyTorch runs without. */
export function torchEnvironment(): NodeJS.ProcessEnv {
  const own = ['OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE'];
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.includes(name)));
}

/** A Python that has torch, or undefined. */
export function findTorch(): string | undefined {
  return ['python3', '/usr/bin/python3'].find(
    (python) => spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0,
  );
}

/** The program has ended without an answer: what it needs is not there. */
export class PeerStopped extends Error {}

/** A program that answers one line of text with one line of JSON. */
export class Peer {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string, undefined>;
  #complaint = '';

  constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, { env: torchEnvironment() });
    this.#child.stderr.on('data', (text) => (this.#complaint += String(text)));
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  async ask<T>(line: string): Promise<T> {
    this.#child.stdin.write(`${line}\n`);
    const answer = await this.#answers.next();
    if (answer.done) {
      const [why = ''] = this.#complaint.split('\n').filter((text) => /\w/.test(text));
      throw new PeerStopped(`stopped at "${line}": ${why}`);
    }
    return JSON.parse(answer.value) as T;
  }

  close(): void {
    this.#child.stdin.end();
    this.#lines.close();
  }
}

export interface TorchOptions {
  setting: string;
  threads: number;
}

/** PyTorch's step of one setting, from the tensors of a file. */
export function torchPeer(
  python: string,
  tensors: string,
  { setting, threads }: TorchOptions,
): Peer {
  const args = ['--setting', setting, '--threads', String(threads), '--tensors', tensors];
  return new Peer(python, [server, ...args]);
}

const tfjs = fileURLToPath(new URL('../peers/tfjs/', import.meta.url));

/** TensorFlow.js's step from the tensors of a file; undefined where it is not installed. */
export function tfjsPeer(
  tensors: string,
  { optimizer, lr, lrScaleP, lrScaleDecoder }: TrainOptions,
): Peer | undefined {
  if (!existsSync(join(tfjs, 'node_modules'))) return undefined;
  const settings = JSON.stringify({ optimizer, lr, lrScaleP, lrScaleDecoder });
  return new Peer(process.execPath, [join(tfjs, 'serve.mjs'), tensors, settings]);
}

export interface Memory {
  /** What training adds to the process. */
  peakBytes: number;
  /** All of the process. */
  processBytes: number;
}

export function torchMemory(python: string, { setting, threads }: TorchOptions): Memory {
  const args = [server, '--setting', setting, '--threads', String(threads)];
  const ran = spawnSync(python, args, { encoding: 'utf8', env: torchEnvironment() });
  return lastJson(ran) as Memory;
}

/** The JSON in the last line that a process printed. */
export function lastJson({ stdout, stderr }: { stdout: string; stderr: string }): unknown {
  const line = stdout.trim().split('\n').at(-1) ?? '';
  if (!line.startsWith('{')) throw new Error(`no result: ${stderr.slice(-2000)}`);
  return JSON.parse(line);
}
