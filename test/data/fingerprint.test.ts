import { expect } from 'chai';
import { createHash } from 'node:crypto';
import { readFile, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fingerprint, fingerprintImages } from '../../lib/data/fingerprint.js';
import type { ImageFile } from '../../lib/data/images.js';
import { failureOf, temporaryFolder } from './temporary.js';

describe('fingerprint', () => {
  const folder = temporaryFolder();
  const image = (name: string): ImageFile => ({
    path: name,
    file: join(folder(), name),
    className: 'x',
  });
  const put = (name: string, text: string): Promise<void> => writeFile(join(folder(), name), text);

  it('of a value does not depend on the order of keys, but on all else', () => {
    const value = { a: 1, b: [{ c: 2, d: null }] };
    expect(fingerprint(value)).to.equal(fingerprint({ b: [{ d: null, c: 2 }], a: 1 }));
    for (const other of [
      { a: 1, b: [{ c: 2 }] },
      { a: '1', b: value.b },
      [value],
      { ...value, e: false },
    ]) {
      expect(fingerprint(other)).to.not.equal(fingerprint(value));
    }
    expect(fingerprint(7)).to.equal(createHash('sha256').update('7').digest('hex'));
  });

  it('of images depends on paths, contents and order', async () => {
    await put('a', 'one');
    await put('b', 'two');
    const both = await fingerprintImages([image('a'), image('b')]);
    expect(both).to.match(/^[0-9a-f]{64}$/);
    expect(await fingerprintImages([image('a'), image('b')])).to.equal(both);
    expect(await fingerprintImages([image('b'), image('a')])).to.not.equal(both);
    expect(await fingerprintImages([image('a')])).to.not.equal(both);
    expect(await fingerprintImages([image('a'), { ...image('b'), path: 'c' }])).to.not.equal(both);
    await put('b', 'TWO');
    expect(await fingerprintImages([image('a'), image('b')])).to.not.equal(both);
    expect(await failureOf(fingerprintImages([image('none')]))).to.have.property('code', 'E_FILE');
  });

  it('remembers unchanged files, and only those', async () => {
    const cache = join(folder(), 'run', 'hashes.json');
    await put('a', 'one');
    const first = await fingerprintImages([image('a')], { cache });
    const remembered = JSON.parse(await readFile(cache, 'utf8')) as Record<
      string,
      [string, string]
    >;
    const entry = remembered[image('a').file];
    expect(entry?.[1]).to.equal(createHash('sha256').update('one').digest('hex'));
    // the memory is used: a forged hash shows
    await writeFile(cache, JSON.stringify({ [image('a').file]: [entry?.[0], 'forged'] }));
    expect(await fingerprintImages([image('a')], { cache })).to.not.equal(first);
    // other content with the same size and modification time is noticed all the same
    await writeFile(cache, JSON.stringify(remembered));
    await utimes(join(folder(), 'a'), 1000, 1000);
    await fingerprintImages([image('a')], { cache });
    await put('tmp', 'two');
    await utimes(join(folder(), 'tmp'), 1000, 1000);
    await rename(join(folder(), 'tmp'), join(folder(), 'a'));
    const second = await fingerprintImages([image('a')], { cache });
    expect(second).to.not.equal(first);
    expect(second).to.equal(await fingerprintImages([image('a')]));
    for (const damaged of ['{', '[]', '{"x":1}']) {
      await writeFile(cache, damaged);
      expect(await fingerprintImages([image('a')], { cache })).to.equal(second);
    }
  });
});
