import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AtomicFile,
  removeTemporaries,
  writeFileAtomic,
  writeJsonAtomic,
  writeTextAtomic,
} from '../../lib/data/atomic.js';
import { failureOf, smallDisk, names, temporaryFolder } from './temporary.js';

describe('atomic files', () => {
  const folder = temporaryFolder();

  it('write and replace whole files', async () => {
    const path = join(folder(), 'a.txt');
    await writeTextAtomic(path, 'größer\n');
    expect(await readFile(path, 'utf8')).to.equal('größer\n');
    await writeJsonAtomic(path, { a: [1] });
    expect(JSON.parse(await readFile(path, 'utf8'))).to.deep.equal({ a: [1] });
    await writeTextAtomic(path, '');
    expect(await readFile(path, 'utf8')).to.equal('');
    expect(await names(folder())).to.deep.equal(['a.txt']);
  });

  it('are not to be seen before commit, nor after discard', async () => {
    const path = join(folder(), 'a.txt');
    await writeTextAtomic(path, 'old');
    const file = await AtomicFile.create(path);
    await file.write(Buffer.from('new'), 0);
    expect(await readFile(path, 'utf8')).to.equal('old');
    await file.discard();
    await file.discard();
    expect(await names(folder())).to.deep.equal(['a.txt']);
    expect(await failureOf(file.write(Buffer.from('x'), 0))).to.have.property('code', 'E_STATE');
    expect(await readFile(path, 'utf8')).to.equal('old');
  });

  it('move parts down, over each other too', async () => {
    const path = join(folder(), 'a');
    const bytes = Uint8Array.from({ length: 9 * 2 ** 20 }, (_, i) => (i * 7 + (i >> 9)) & 255);
    const file = await AtomicFile.create(path);
    await file.write(bytes, 0);
    await file.moveDown(1000, 3, bytes.length - 1000);
    await file.commit(bytes.length - 997);
    const found = await readFile(path);
    expect(found.subarray(0, 3).equals(bytes.subarray(0, 3))).to.equal(true);
    expect(found.subarray(3).equals(bytes.subarray(1000))).to.equal(true);
  });

  it('tell in one sentence what the file system says', async () => {
    const error = await failureOf(writeTextAtomic(join(folder(), 'no', 'a.txt'), 'x'));
    expect(error).to.have.property('code', 'E_FILE');
    expect(error.message).to.match(/^Cannot write .*a\.txt: ENOENT: no such file or directory\.$/);
  });

  it('survive a target that cannot be replaced', async () => {
    const error = await failureOf(writeTextAtomic(folder(), 'x'));
    expect(error).to.have.property('code', 'E_FILE');
    expect(await names(folder())).to.deep.equal([]);
  });

  it('leave the old file and nothing else when the disk is full', async () => {
    const undo = await smallDisk(folder(), 64);
    try {
      const path = join(folder(), 'a.bin');
      await writeTextAtomic(path, 'old');
      const error = await failureOf(writeFileAtomic(path, new Uint8Array(200_000)));
      expect(error).to.have.property('code', 'E_FILE');
      expect(error.message).to.include('ENOSPC: no space left on device');
      expect(await readFile(path, 'utf8')).to.equal('old');
      expect(await names(folder())).to.deep.equal(['a.bin']);
      await writeFileAtomic(path, new Uint8Array(10_000));
    } finally {
      undo();
    }
  });

  it('clear away what killed processes left, and only that', async () => {
    const dead = spawnSync(process.execPath, ['--version']).pid;
    const name = (pid: number, tag: string): string => `.partlens-${String(pid)}-${tag}.tmp`;
    const earlier = name(process.pid, 'aa');
    for (const file of [
      name(dead, '00'),
      earlier,
      name(process.pid, 'bb'),
      name(process.ppid, 'cc'),
      'x.tmp',
    ]) {
      await writeFile(join(folder(), file), '');
    }
    await utimes(join(folder(), earlier), 1, 1);
    await removeTemporaries(folder());
    expect(await names(folder())).to.deep.equal(
      [name(process.pid, 'bb'), name(process.ppid, 'cc'), 'x.tmp'].sort(),
    );
    await removeTemporaries(join(folder(), 'none'));
  });
});
