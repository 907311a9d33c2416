import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { hasSystemCode } from '../lib/data/file_error.js';
import { Graph } from '../lib/engine/graph.js';
import { conv2d } from '../lib/engine/ops/index.js';
import { createSession } from '../lib/engine/session.js';
import { ControlGroup } from './support/control_group.js';
import {
  compile,
  convolution,
  run,
  support,
  use,
  type Compiled,
  type Ended,
} from './support/native.js';

/** Kernels of some 100 ms in all when run 200 times. */
function busy(): Compiled {
  const graph = new Graph();
  const x = graph.state('x', [4, 64, 28, 28], { fill: 1 });
  const w = graph.parameter('w', [64, 64, 3, 3], { layout: 'conv_weight', fill: 0.01 });
  graph.output('y', conv2d(x, w, undefined, { pad: 1 }));
  return compile(graph);
}

describe('native: processes', () => {
  const addon = fileURLToPath(new URL('../build/Release/partlens.node', import.meta.url));
  const { words, arenaBytes } = busy();
  const scene = (name: string, runs: number): Record<string, unknown> => {
    return { addon, words: [...words], arenaBytes, runs, scene: name };
  };
  const play = (name: string, runs: number, flags: string[] = []): Promise<Ended> =>
    run(support('addon_process.cjs'), [JSON.stringify(scene(name, runs))], flags);

  it('one with nothing pending ends by itself, its session alive', async () => {
    expect(await play('idle', 0)).to.include({ code: 0, signal: null, stdout: 'done\n' });
  });

  it('one ends when its runs have ended, awaited or not', async () => {
    expect(await play('finish', 5)).to.include({ code: 0, signal: null, stdout: 'done\n' });
    expect(await play('dangling', 5)).to.include({ code: 0, signal: null, stdout: '.....' });
  });

  it('one that exits with runs pending ends cleanly and at once', async () => {
    const ended = await play('exit', 20_000);
    expect(ended, ended.stderr).to.include({ code: 0, signal: null });
    expect(ended.milliseconds).to.be.below(5000);
  });

  it('one that fails with runs pending ends with its error', async () => {
    const ended = await play('throw', 20_000);
    expect(ended, ended.stderr).to.include({ code: 1, signal: null });
    expect(ended.stderr).to.include('on purpose');
    expect(ended.milliseconds).to.be.below(5000);
  });

  it('sessions that nobody disposes of are freed', async () => {
    const ended = await play('collect', 40, ['--expose-gc']);
    expect(ended, ended.stderr).to.include({ code: 0, signal: null });
    expect(Number(ended.stdout) / 2 ** 20, 'MiB').to.be.below(500);
  });

  it('a worker_thread has sessions of its own', async () => {
    const worker = new Worker(support('addon_process.cjs'), { workerData: scene('post', 3) });
    const messages: unknown[] = [];
    await new Promise((resolve, reject) => {
      worker.on('message', (message) => messages.push(message));
      worker.on('error', reject);
      worker.on('exit', resolve);
    });
    expect(messages).to.deep.equal(['started', 'done']);
  });

  it('worker_threads alone load and unload the addon, sessions alive', () => {
    const data = JSON.stringify(scene('kept', 0));
    const script = `
      const { Worker } = require('node:worker_threads');
      (async () => {
        for (let i = 0; i < 4; i++) {
          const worker = new Worker(${JSON.stringify(support('addon_process.cjs'))}, { workerData: ${data} });
          await new Promise((resolve) => worker.on('exit', resolve));
          process.stdout.write('.');
        }
      })();`;
    const { status, signal, stdout } = spawnSync(process.execPath, ['-e', script]);
    expect({ status, signal, stdout: String(stdout) }).to.deep.equal({
      status: 0,
      signal: null,
      stdout: '....',
    });
  });

  it('a terminated worker_thread does not wait for the runs of others', async () => {
    await use(arenaBytes, async (session) => {
      const id = session.addProgram(words);
      const none = new Int32Array();
      const worker = new Worker(support('addon_process.cjs'), { workerData: scene('post', 5) });
      await new Promise((resolve) => worker.once('online', resolve));
      let done = 0;
      const runs = Array.from({ length: 2000 }, async () => {
        await session.run(id, none, [], none);
        done++;
      });
      await new Promise((resolve) => worker.once('message', resolve));
      await worker.terminate();
      expect(done, 'runs of the main thread').to.be.below(1500);
      await Promise.all(runs);
    });
  });

  it('a CUDA library that cannot be opened is told with the reason', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'partlens-'));
    try {
      const library = path.join(folder, 'libpartlens_cuda.so');
      writeFileSync(library, 'no library');
      const [at, to] = [addon, library].map((file) => JSON.stringify(file));
      const script = `const a = require(${at}); a.cudaLibrary(${to}); console.log(a.devices()[1].reason)`;
      const { stdout } = spawnSync(process.execPath, ['-e', script]);
      expect(String(stdout)).to.match(/^the CUDA library cannot be opened: .*libpartlens_cuda\.so/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('one that may use one CPU computes on one thread', function () {
    const script = `console.log(require(${JSON.stringify(addon)}).devices()[0].threads)`;
    const status = existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'utf8') : '';
    const cpu = /Cpus_allowed_list:\s*(\d+)/.exec(status)?.[1] ?? '0';
    const { stdout, error } = spawnSync('taskset', ['-c', cpu, process.execPath, '-e', script]);
    if (error) {
      console.log('      skipped: taskset was not found');
      this.skip();
    }
    expect(String(stdout)).to.equal('1\n');
  });

  it('one in a control group keeps to its CPUs and its memory', function () {
    const script = `const [cpu] = require(${JSON.stringify(addon)}).devices();
      console.log(cpu.threads, cpu.memoryBytes)`;
    const group = new ControlGroup();
    try {
      const { stdout, stderr } = group.run([process.execPath, '-e', script]);
      expect(stdout, stderr).to.equal(`1 ${String(2 ** 30)}\n`);
    } catch (error) {
      if (!hasSystemCode(error, 'EACCES', 'EROFS', 'ENOENT', 'EPERM')) throw error;
      console.log(`      skipped: ${(error as Error).message}`);
      this.skip();
    } finally {
      group.remove();
    }
  });

  it('an unknown PARTLENS_ISA is E_BACKEND and names what there is', () => {
    const script = `
      const native = require(${JSON.stringify(addon)});
      console.log(native.devices()[0].available);
      try { native.createSession('cpu', 1, 64, 'fp32', 'fast'); } catch (e) { console.log(e.code, e.message); }`;
    const env = { ...process.env, PARTLENS_ISA: 'mmx' };
    const { stdout } = spawnSync(process.execPath, ['-e', script], { env });
    expect(String(stdout)).to.match(/^false\nE_BACKEND PARTLENS_ISA names no instruction set/);
  });

  it('a worker_thread that is terminated with runs pending takes nothing along', async () => {
    for (let round = 0; round < 6; round++) {
      const worker = new Worker(support('addon_process.cjs'), { workerData: scene('post', 3000) });
      await new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
      });
      const begin = performance.now();
      await worker.terminate();
      expect(performance.now() - begin, 'ms').to.be.below(2000);
    }
    const again = await createSession({ programs: { main: convolution() }, threads: 2 });
    const inputs = { x: new Float32Array(384).fill(1) };
    const { y } = await again.run('main', { inputs, fetch: ['y'] });
    again.dispose();
    expect(y?.[0]).to.be.above(0);
  });
});
