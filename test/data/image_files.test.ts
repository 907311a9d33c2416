import { expect } from 'chai';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { listImages, listNotices } from '../../lib/data/images.js';
import { corners, encode } from './pictures.js';
import { failureOf, temporaryFolder } from './temporary.js';

describe('listing images', () => {
  const folder = temporaryFolder();
  const put = async (name: string, bytes: Uint8Array | string): Promise<string> => {
    const path = join(folder(), name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
    return path;
  };
  const small = (): Promise<Buffer> => encode(corners(8, 8)).png().toBuffer();

  it('takes the folder that holds an image as its class, sorted, without hidden files', async () => {
    const png = await small();
    const files = [
      'dog/b.PNG',
      'dog/a.jpg',
      'dog/10.webp',
      'cat/puma/z.jpeg',
      'dog/notes.txt',
      'dog/x.bmp',
    ];
    for (const name of [...files, '.hidden/a.jpg', 'dog/.b.jpg', 'Zoo/a.jpg']) await put(name, png);
    await mkdir(join(folder(), 'dog', 'folder.jpg'));
    const list = await listImages(folder());
    expect(list.images.map(({ path, className }) => `${path} ${className}`)).to.deep.equal([
      'Zoo/a.jpg Zoo',
      'cat/puma/z.jpeg puma',
      'dog/10.webp dog',
      'dog/a.jpg dog',
      'dog/b.PNG dog',
    ]);
    expect(list.classes).to.deep.equal(['Zoo', 'dog', 'puma']);
    expect(list.others).to.equal(1);
    expect(list.unread).to.deep.equal({ '.bmp': 1 });
    expect(list.skipped).to.deep.equal([]);
  });

  it('takes the folder above `images` as the class, at any depth', async () => {
    for (const name of [
      'n01443537/images/n01443537_0.JPEG',
      'cat/Photos/1.tif',
      'images/dog/1.avif',
      'owl/img/barn/1.gif',
    ]) {
      await put(`set/${name}`, 'x');
    }
    const { images, classes } = await listImages(join(folder(), 'set'));
    expect(images.map(({ className }) => className)).to.deep.equal([
      'cat',
      'dog',
      'n01443537',
      'barn',
    ]);
    expect(classes).to.deep.equal(['barn', 'cat', 'dog', 'n01443537']);
    const alone = await listImages(join(folder(), 'set', 'n01443537'));
    expect(alone.classes, 'the same class from nearer').to.deep.equal(['n01443537']);
  });

  it('names and counts the formats that are not read', async () => {
    for (const name of ['a/1.heic', 'a/2.HEIC', 'b/3.bmp', 'b/notes.txt']) await put(name, 'x');
    const list = await listImages(folder());
    expect(list.unread).to.deep.equal({ '.heic': 2, '.bmp': 1 });
    expect(listNotices(list)).to.deep.equal([
      `${folder()}: 3 image files are not read: 1 .bmp, 2 .heic; JPEG, PNG, WebP, TIFF, AVIF and GIF are`,
    ]);
    await put('a/1.png', 'x');
    expect(listNotices(await listImages(join(folder(), 'a')))[0]).to.include('2 .heic');
  });

  it('takes a folder without sub-folders as one class', async () => {
    await put('birds/a.png', await small());
    const list = await listImages(join(folder(), 'birds'));
    expect(list.images.map(({ path, className }) => [path, className])).to.deep.equal([
      ['a.png', 'birds'],
    ]);
    expect(list.classes).to.deep.equal(['birds']);
  });

  it('follows links, ends at loops, takes each file once, reports broken links', async () => {
    const file = await put('a/one.png', await small());
    await put('elsewhere.d/two.png', await small());
    await symlink('..', join(folder(), 'a', 'loop'));
    await symlink('self.png', join(folder(), 'a', 'self.png'));
    await symlink(file, join(folder(), 'a', 'same.png'));
    await symlink(join(folder(), 'elsewhere.d'), join(folder(), 'a', 'linked'));
    await symlink('nowhere.png', join(folder(), 'a', 'broken.png'));
    const list = await listImages(join(folder(), 'a'));
    expect(list.images.map(({ path }) => path)).to.deep.equal(['linked/two.png', 'one.png']);
    expect(list.images[0]?.file).to.match(/elsewhere\.d\/two\.png$/);
    expect(list.skipped.map(({ file: name, reason }) => `${name}: ${reason}`).sort()).to.deep.equal(
      [
        'broken.png: a link that leads nowhere',
        'same.png: the same file under another name',
        'self.png: a link that leads nowhere',
      ],
    );
  });

  it('refuses what is no folder', async () => {
    for (const path of [join(folder(), 'none'), await put('file', 'x')]) {
      expect(await failureOf(listImages(path))).to.have.property('code', 'E_FILE');
    }
  });
});
