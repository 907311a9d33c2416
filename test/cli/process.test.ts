import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { names, temporaryFolder } from '../data/temporary.js';
import { traces, writeTiny, type Tiny } from '../explainer/tiny.js';
import { LOADER, moduleFile } from '../support/source.js';
import { start, until } from './run_cli.js';

const DEVICE = ['--backend', 'cpu', '--threads', '1'];

/** stderr but for what the CNN itself says of the photographs, which is told before each training. */
function notes(stderr: string): string {
  return stderr.replace(/^(warning: )?The CNN names the class of its folder .*\n/gm, '');
}

describe('partlens: as a process', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  beforeEach(async () => {
    tiny = await writeTiny(folder());
  });

  const run = (name: string): string => join(folder(), name);
  const train = (out: string, ...more: string[]): string[] => {
    const { model, images } = tiny;
    const cut = ['--layer', 'conv2_relu', '--targets', 'fc1_relu,fc2_relu'];
    const where = ['--images', images, '--out', run(out)];
    return ['train', '--performer', model, ...cut, ...where, ...DEVICE, ...more];
  };
  const metrics = async (out: string): Promise<string> =>
    readFile(join(run(out), 'metrics.jsonl'), 'utf8').catch(() => '');

  it('trains and evaluates; how good the CNN itself is stands on stderr', async () => {
    const trained = await start(train('a', '--batch', '8', '--epochs', '2')).ended;
    // on a loaded machine progress lines stand between
    expect(trained.stderr).to.match(/^The CNN names the class of its folder for /m);
    expect(trained.code).to.equal(0);
    expect(trained.stdout).to.match(/a: 8 steps, p 0\.\d{3}, 20 images used, 0 skipped\n/);
    expect(trained.stdout).to.match(/computed on cpu \(\w+, 1 threads\)\n/);
    expect(trained.stdout).to.match(
      /\nVerdict: [^\n]+\n( {2}(good|weak|bad|unknown) +[^\n]+\n)+( {2}try [^\n]+\n)+$/,
    );

    const args = ['evaluate', run('a'), '--landmarks', tiny.landmarks, ...DEVICE];
    const evaluated = await start([...args, '--json']).ended;
    expect(evaluated).to.include({ code: 0, stderr: '' });
    const json = JSON.parse(evaluated.stdout) as Record<string, unknown>;
    expect(Object.keys(json)).to.deep.equal([
      'verdict',
      'performer',
      'explainer',
      'controls',
      'sources',
      'baselines',
      'p',
      'share',
      'agreement',
      'swap',
      'logits',
      'occlusion',
      'deadFilters',
      'reconstruction',
      'head',
      'parts',
      'images',
      'landmarks',
    ]);
    expect(json['images']).to.equal(20);
    const shown = await start([...args, '--split', 'train', '--noise', '0.2']).ended;
    expect(shown).to.include({ code: 0, stderr: '' });
    expect(shown.stdout, 'sentences come first').to.match(/^Verdict: [A-Z]/);
    const lower = ['location instability', 'vector instability'];
    const rows = [
      ...lower.map((name) => `${name} \\(lower is better\\)`),
      ...['all-category ratio', '  of vector instability', 'purity', 'stability under noise'],
    ];
    for (const row of rows) {
      expect(shown.stdout).to.match(new RegExp(`^  ${row}( +\\d\\.\\d{3}){3}$`, 'm'));
    }
    expect(shown.stdout).to.match(/^ {2}R2 of the best part( +-?\d+\.\d{3}){3}$/m);
    expect(shown.stdout).to.match(/^ {2}distinct filters of R2 > 0\.3( +\d+\/\d+){3}$/m);
    const controls = /^ {2}(?:[a-z, ]+?)((?: +-?\d\.\d{3}){3}  +\d+\/\d+(?: +\d\.\d{3}){3})$/gm;
    expect(shown.stdout.match(controls), shown.stdout).to.have.length(6);
    expect(shown.stdout).to.match(/best fixed position( +0\.\d{3}){2} +0\.000 +0\/2 /);
    expect(shown.stdout).to.match(/^ {2}bright( +\d+){2}\n {2}dark( +\d+){2}$/m);
    expect(shown.stdout).to.match(/^what fools each score\n/m);
    expect(shown.stdout).to.match(/^ {2}duplicates( +\d+\/\d+){3}$/m);
    expect(shown.stdout).to.match(/^p, the parts' share of the rebuilt features +0\.\d{3}$/m);
    expect(shown.stdout).to.match(/^The check (holds|fails): /m);
    expect(shown.stdout).to.match(/^ {2}agreement +[01]\.\d{3}$/m);
  });

  it('Ctrl-C keeps a checkpoint; --resume ends with the bits of an unbroken run', async () => {
    const flags = ['--batch', '2', '--epochs', '40', '--log-every', '5'];
    const running = start(train('a', ...flags));
    await until(async () => (await metrics('a')).split('\n').length > 4, running);
    running.child.kill('SIGINT');
    const { code, stdout, stderr } = await running.ended;
    expect(stderr).to.match(/^stopping after this step/m);
    expect(stderr).to.match(/Training was stopped at step \d+ of 680; a checkpoint is kept/);
    expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
    const step = Number(/at step (\d+)/.exec(stderr)?.[1]);
    expect((await names(join(run('a'), 'checkpoints'))).at(-1)).to.include(String(step));
    const [resumed, unbroken] = await Promise.all([
      start(train('a', ...flags, '--resume')).ended,
      start(train('b', ...flags)).ended,
    ]);
    expect(notes(resumed.stderr + unbroken.stderr)).to.equal('');
    expect([resumed.code, unbroken.code]).to.deep.equal([0, 0]);
    expect(await traces(run('a'))).to.deep.equal(await traces(run('b')));
  });

  it('SIGTERM and SIGHUP are as good: codes 143 and 129, a free folder, the same bits', async () => {
    const flags = ['--batch', '2', '--epochs', '40', '--log-every', '5', '--no-report'];
    const unbroken = start(train('b', ...flags)).ended;
    let step = 0;
    for (const [signal, code] of [
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const) {
      const running = start(train('a', ...flags, ...(step > 0 ? ['--resume'] : [])));
      const lines = Math.floor(step / 5) + 4;
      await until(async () => (await metrics('a')).split('\n').length > lines, running);
      running.child.kill(signal);
      const ended = await running.ended;
      expect(ended.stderr).to.match(
        /Training was stopped at step \d+ of 680; a checkpoint is kept/,
      );
      expect(ended).to.include({ code, stdout: '' });
      const stopped = Number(/at step (\d+)/.exec(ended.stderr)?.[1]);
      expect(stopped).to.be.above(step);
      step = stopped;
      expect((await names(join(run('a'), 'checkpoints'))).at(-1)).to.include(String(step));
      expect(await names(run('a'))).not.to.include('training.pid');
    }
    for (const { code, stderr } of [
      await start(train('a', ...flags, '--resume')).ended,
      await unbroken,
    ]) {
      expect({ code, stderr: notes(stderr) }).to.deep.equal({ code: 0, stderr: '' });
    }
    expect(await traces(run('a'))).to.deep.equal(await traces(run('b')));
  });

  it('a terminal that is closed: a checkpoint, the folder given back, an end by SIGHUP', async function () {
    if (spawnSync('python3', ['-c', 'import pty']).status !== 0) {
      console.log('      skipped: needs python3 with pty');
      this.skip();
    }
    // as bin/partlens.js does: what ends a process is at the end of the module
    const script = join(folder(), 'partlens.js');
    await writeFile(script, `import(${JSON.stringify(moduleFile('lib/cli/main'))});`);
    const args = train('a', '--batch', '2', '--epochs', '4000', '--log-every', '5');
    const node = [process.execPath, ...LOADER, script, ...args];
    const terminal = `
import os, pty, select, sys
pid, fd = pty.fork()
if pid == 0: os.execv(sys.argv[2], sys.argv[2:])
while not (os.path.exists(sys.argv[1]) and os.path.getsize(sys.argv[1]) > 1000):
    if select.select([fd], [], [], 0.05)[0]: os.read(fd, 65536)
os.close(fd)
status = os.waitpid(pid, 0)[1]
print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status))
`;
    const log = join(run('a'), 'metrics.jsonl');
    const { stdout } = await promisify(execFile)('python3', ['-c', terminal, log, ...node]);
    expect(stdout).to.equal('1\n');
    expect(await names(join(run('a'), 'checkpoints'))).to.have.length(1);
    expect(await names(run('a'))).not.to.include('training.pid');
  });

  for (const [signal, expected] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    it(`${signal} twice ends at once with code ${String(expected)}, in the middle of a long step`, async () => {
      const long = ['--filters', '256', '--kernel', '9', '--batch', '34'];
      const running = start(train('a', ...long));
      await until(() => existsSync(join(run('a'), 'metrics.jsonl')), running);
      await new Promise((resolve) => setTimeout(resolve, 200));
      running.child.kill(signal);
      let errors = '';
      running.child.stderr?.on('data', (part: Buffer) => (errors += part.toString()));
      await until(() => errors.includes('press Ctrl-C again'), running);
      const second = performance.now();
      running.child.kill(signal);
      const { code, stderr } = await running.ended;
      expect(code, stderr).to.equal(expected);
      expect(performance.now() - second, 'ms until it ended').to.be.below(5000);
      const checkpoints = join(run('a'), 'checkpoints');
      if (existsSync(checkpoints)) {
        expect(
          (await names(checkpoints)).filter((name) => !name.startsWith('step-')),
        ).to.have.length(0);
      }
    });
  }

  it('Ctrl-C in the demo: one sentence, and the folder can be used again', async () => {
    const running = start(['demo', '--out', run('demo'), '--images', '4000', ...DEVICE]);
    await until(() => existsSync(join(run('demo'), 'birds', 'robin')), running);
    running.child.kill('SIGINT');
    const { code, stderr } = await running.ended;
    expect(stderr).to.equal('stopping\npartlens: [demo] The demo was stopped. (E_STATE)\n');
    expect(code).to.equal(1);
    const again = await start(['demo', '--out', run('demo'), '--images', '100']).ended;
    expect(again.stderr).to.match(/at least 200/);
  });

  it('bin/partlens.js starts the built command line', function () {
    if (!existsSync('dist/cli/main.js')) {
      console.log('      skipped: dist/ is not built');
      this.skip();
    }
    const version = execFileSync(process.execPath, ['bin/partlens.js', '--version']).toString();
    expect(version).to.match(/^\d+\.\d+\.\d+\n$/);
    const piped = ['-o', 'pipefail', '-c', '"$0" bin/partlens.js help train | :'];
    const { status, stderr } = spawnSync('bash', [...piped, process.execPath], {
      encoding: 'utf8',
    });
    expect({ status, stderr }, 'a reader that has gone').to.deep.equal({ status: 0, stderr: '' });
  });
});
