import { execFileSync, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { PartlensError } from '../../lib/errors.js';
import { holdRun } from '../../lib/explainer/hold_run.js';
import { names, temporaryFolder } from '../data/temporary.js';
import { failure } from '../support/performer.js';
import { LOADER, moduleFile } from '../support/source.js';

const CHILDREN = 6;
/** Rounds of each kind of file that lies there. */
const ROUNDS = 10;

/** Holds a run folder at an agreed time and tells whether it got it. */
const CHILD = `
  import { holdRun } from ${JSON.stringify(moduleFile('lib/explainer/hold_run'))};
  let free;
  process.on('message', async ({ run, at }) => {
    if (run === undefined) {
      await free?.();
      return process.send('free');
    }
    while (Date.now() < at);
    free = await holdRun(run).catch((error) => (error.code === 'E_STATE' ? undefined : Promise.reject(error)));
    process.send(free ? 'held' : 'refused');
  });
  process.send('ready');
`;

describe('explainer: one training holds a run folder', () => {
  const folder = temporaryFolder();
  const children: ChildProcess[] = [];
  const answer = async (child: ChildProcess): Promise<unknown> =>
    ((await once(child, 'message')) as unknown[])[0];
  /** All children get a message and have answered. */
  const tell = (message: object): Promise<unknown[]> =>
    Promise.all(
      children.map((child) => {
        const told = answer(child);
        child.send(message);
        return told;
      }),
    );
  const startChildren = async (count: number, env: NodeJS.ProcessEnv = {}): Promise<void> => {
    const file = join(folder(), 'child.mjs');
    await writeFile(file, CHILD);
    for (let i = 0; i < count; i++) {
      const options = { execArgv: [...LOADER], env: { ...process.env, ...env } };
      children.push(fork(file, { ...options, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }));
    }
    await Promise.all(children.map(answer));
  };
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });

  it('never two of six processes that start at once, whatever file lies there', async function () {
    this.timeout(120_000 + 1000 * ROUNDS);
    await startChildren(CHILDREN);
    // as killed processes leave it; none, empty, of no process, of a living process
    const kinds = [undefined, '', '4194000', String(process.pid)];
    for (let round = 0; round < ROUNDS * kinds.length; round++) {
      const run = join(folder(), String(round));
      const left = kinds[round % kinds.length];
      await mkdir(run);
      if (left !== undefined) await writeFile(join(run, 'training.pid'), left);
      const told = await tell({ run, at: Date.now() + 10 });
      const held = told.filter((word) => word === 'held');
      expect(held, `${String(left)}: ${told.join(' ')}`).to.have.length(1);
      await tell({});
      expect(await names(run)).to.deep.equal([]);
    }
  });

  it('never two while holders come and go', async () => {
    const run = join(folder(), 'run');
    const script = `
      import { mkdir, rmdir } from 'node:fs/promises';
      import { holdRun } from ${JSON.stringify(moduleFile('lib/explainer/hold_run'))};
      let held = 0;
      for (const end = Date.now() + 1500; Date.now() < end; ) {
        const free = await holdRun(${JSON.stringify(run)}).catch(() => undefined);
        if (!free) continue;
        await mkdir(${JSON.stringify(join(folder(), 'one'))}); // fails where another is
        await rmdir(${JSON.stringify(join(folder(), 'one'))});
        await free();
        held++;
      }
      process.send(held);
    `;
    const file = join(folder(), 'loop.mjs');
    await writeFile(file, script);
    for (let i = 0; i < 3; i++) children.push(fork(file, { execArgv: [...LOADER] }));
    const counts = await Promise.all(children.map(answer));
    for (const count of counts) expect(count, counts.join(' ')).to.be.above(0);
  });

  it('kill -9 frees it; the error names who has it', async () => {
    const run = join(folder(), 'run');
    await startChildren(1);
    expect(await tell({ run, at: 0 })).to.deep.equal(['held']);
    const [child] = children;
    const { details } = await failure(
      'E_STATE',
      /^\[train\] Process \d+ is training in .*\n.*--out\.$/,
      () => holdRun(run),
    );
    expect(details['pid']).to.equal(child?.pid);
    child?.kill('SIGKILL');
    if (child) await once(child, 'exit');
    expect(await names(run)).to.deep.equal(['training.pid']);
    const free = await holdRun(run);
    expect(await readFile(join(run, 'training.pid'), 'utf8')).to.match(
      new RegExp(`^${String(process.pid)} on .+\n$`),
    );
    await free();
    await free();
    expect(await names(run)).to.deep.equal([]);
  });

  it('two of one process exclude each other, worker_threads too; a thread that ends gives it back', async () => {
    const run = join(folder(), 'run');
    const free = await holdRun(run);
    await failure('E_STATE', /is training/, () => holdRun(run));
    const addon = fileURLToPath(new URL('../../build/Release/partlens.node', import.meta.url));
    const source = `
      const { parentPort, workerData } = require('node:worker_threads');
      const { lockFile } = require(workerData.addon);
      globalThis.release = lockFile(workerData.path, 'a thread');
      parentPort.postMessage(globalThis.release !== undefined);
      setInterval(() => {}, 1000);
    `;
    const ask = async (): Promise<{ worker: Worker; held: unknown }> => {
      const workerData = { addon, path: join(run, 'training.pid') };
      const worker = new Worker(source, { eval: true, workerData });
      return { worker, held: ((await once(worker, 'message')) as unknown[])[0] };
    };
    const refused = await ask();
    expect(refused.held).to.equal(false);
    await refused.worker.terminate();
    await failure('E_STATE', /is training/, () => holdRun(run));
    await free();
    const { worker, held } = await ask();
    expect(held).to.equal(true);
    await failure('E_STATE', /^\[train\] Another process is training/, () => holdRun(run));
    await worker.terminate();
    await (
      await holdRun(run)
    )();
  });

  it('a folder that was replaced meanwhile can be held; giving back leaves its file alone', async () => {
    const run = join(folder(), 'run');
    const first = await holdRun(run);
    await rename(run, join(folder(), 'moved'));
    const second = await holdRun(run);
    await first();
    expect(await names(run)).to.deep.equal(['training.pid']);
    await failure('E_STATE', /is training/, () => holdRun(run));
    await second();
  });

  it('never follows a link, nor writes what it leads to', async () => {
    const run = join(folder(), 'run');
    await mkdir(run);
    await writeFile(join(folder(), 'other'), 'precious');
    await symlink(join(folder(), 'other'), join(run, 'training.pid'));
    await failure('E_FILE', /Cannot open .*training\.pid/, () => holdRun(run));
    expect(await readFile(join(folder(), 'other'), 'utf8')).to.equal('precious');
    await (
      await holdRun(run, { lock: false })
    )();
  });

  it('a file system that refuses locks: E_FILE naming --no-lock, which goes on', function () {
    const library = join(folder(), 'refuse.so');
    const source = '#include <errno.h>\nint flock(int f, int o) { errno = ENOLCK; return -1; }\n';
    try {
      const flags = ['-shared', '-fPIC', '-x', 'c', '-', '-o', library];
      if (process.platform !== 'linux') throw new Error('no LD_PRELOAD');
      execFileSync('cc', flags, { input: source, stdio: ['pipe', 'ignore', 'ignore'] });
    } catch {
      console.log('      skipped: needs Linux and cc');
      this.skip();
    }
    const script = `
      import { holdRun } from ${JSON.stringify(moduleFile('lib/explainer/hold_run'))};
      const told = await holdRun(process.argv[1]).then(() => 'held', ({ code, message }) => code + ' ' + message);
      await (await holdRun(process.argv[1], { lock: false }))();
      console.log(told);
    `;
    const told = execFileSync(
      process.execPath,
      [...LOADER, '--input-type=module', '-e', script, join(folder(), 'run')],
      { env: { ...process.env, LD_PRELOAD: library }, encoding: 'utf8' },
    );
    expect(told).to.match(/^E_FILE \[train\] Cannot lock .*: No locks available\.\n.*--no-lock/);
  });

  it('is told of a folder that cannot be made', async () => {
    await writeFile(join(folder(), 'file'), '');
    const error = await failure('E_FILE', /ENOTDIR|EEXIST/, () =>
      holdRun(join(folder(), 'file', 'run')),
    );
    expect(error).to.be.instanceOf(PartlensError);
  });
});
