import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { emptySummary, listImages, readImages, type ImageFile } from '../../lib/data/images.js';
import { collect, corners, encode, picture, plain } from './pictures.js';
import { failureOf, temporaryFolder } from './temporary.js';

const photographs = fileURLToPath(
  new URL('../../../shared/data/animal-part/images/', import.meta.url),
);

describe('image batches', () => {
  const folder = temporaryFolder();
  const put = async (name: string, bytes: Uint8Array | string): Promise<string> => {
    const path = join(folder(), name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
    return path;
  };
  const set = async (count: number): Promise<ImageFile[]> => {
    for (let i = 0; i < count; i++) {
      const name = `set/${String(i).padStart(2, '0')}.png`;
      await put(
        name,
        await encode(picture(4, 4, () => [i, 2 * i, 3]))
          .png()
          .toBuffer(),
      );
    }
    return (await listImages(join(folder(), 'set'))).images;
  };

  it('come in order, the last one shorter or padded', async () => {
    const files = await set(7);
    for (const pad of [false, true]) {
      const batches = await collect(
        readImages(files, plain(4), { batch: 3, pad, mirror: true, concurrency: 2 }),
      );
      expect(batches.map(({ images }) => images.map(({ path }) => path))).to.deep.equal([
        ['00.png', '01.png', '02.png'],
        ['03.png', '04.png', '05.png'],
        ['06.png'],
      ]);
      const last = batches[2];
      expect(last?.pixels).to.have.length(48 * (pad ? 3 : 1));
      expect(last?.mirrored).to.have.length(48 * (pad ? 3 : 1));
      expect(last?.pixels[0]).to.equal(6);
      expect(last?.images[0]).to.include({ className: 'set', width: 4, height: 4 });
      expect(batches[1]?.pixels[48 + 16]).to.equal(8);
    }
    const [batch] = await collect(readImages(files.slice(0, 1), plain(4)));
    expect(batch?.mirrored).to.equal(undefined);
  });

  it('leave out what cannot be used, name it and count it', async () => {
    const jpeg = await encode(corners(64, 64)).jpeg().toBuffer();
    const png = await encode(corners(64, 64)).png().toBuffer();
    const webp = await encode(corners(64, 64)).webp().toBuffer();
    const noise = picture(64, 64, (x, y) => [
      (x * y * 7) % 256,
      (x * 31 + y * y) % 256,
      (x * 5) % 256,
    ]);
    const flipped = await encode(noise).jpeg({ quality: 95 }).toBuffer();
    for (let i = 0; i < 200; i++) flipped[700 + i * 7] = (flipped[700 + i * 7] ?? 0) ^ 0x5a;
    const bad: Record<string, [Uint8Array | string, RegExp]> = {
      'empty.jpg': ['', /empty file/],
      'text.png': ['hello world, this is no image', /no image of a known format/],
      'vector.jpg': [
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        /no image of a known format/,
      ],
      'bmp.png': [Buffer.from(`BM${'\0'.repeat(60)}`), /a BMP image; JPEG, PNG, .* are read/],
      'heic.jpg': [
        Buffer.from(`\0\0\0\x18ftypheic\0\0\0\0mif1heic${'\0'.repeat(40)}`),
        /a HEIC image; JPEG/,
      ],
      'cut.jpg': [jpeg.subarray(0, jpeg.length >> 1), /damaged image \(.*premature end/],
      'cut.png': [png.subarray(0, png.length >> 1), /damaged image/],
      'cut.webp': [webp.subarray(0, webp.length >> 1), /damaged image/],
      'flipped.jpg': [flipped, /damaged image/],
      'head.jpg': [jpeg.subarray(0, 12), /damaged image/],
      'one.png': [await encode(corners(1, 1)).png().toBuffer(), /too small, 1 x 1 pixels/],
      'line.png': [await encode(corners(1, 30)).png().toBuffer(), /too small, 1 x 30 pixels/],
      'huge.png': [await encode(corners(200, 100)).png().toBuffer(), /too large, 200 x 100 pixels/],
    };
    for (const [name, [bytes]] of Object.entries(bad)) await put(`set/${name}`, bytes);
    await put('set/good.jpg', png); // content decides
    const { images } = await listImages(join(folder(), 'set'));
    const summary = emptySummary();
    const warnings: string[] = [];
    const options = {
      summary,
      maxPixels: 10_000,
      onWarning: (text: string) => warnings.push(text),
    };
    const batches = await collect(readImages(images, plain(8), options));
    expect(batches.flatMap(({ images: used }) => used.map(({ path }) => path))).to.deep.equal([
      'good.jpg',
    ]);
    expect(summary.used).to.equal(1);
    expect(summary.skipped.map(({ file }) => file)).to.deep.equal(Object.keys(bad).sort());
    for (const { file, reason } of summary.skipped)
      expect(reason).to.match(bad[file]?.[1] ?? /never/, file);
    expect(warnings).to.have.length(Object.keys(bad).length);
    expect(warnings[0]).to.match(/^bmp\.png is skipped: a BMP image/);
  });

  it('E_FILE when no image can be used, with reasons', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) await put(`set/${name}.jpg`, '');
    const { images } = await listImages(join(folder(), 'set'));
    for (const [files, text] of [
      [images, 'a.jpg: empty file'],
      [[], 'received none'],
    ] as const) {
      const error = await failureOf(collect(readImages(files, plain(4))));
      expect(error).to.have.property('code', 'E_FILE');
      expect(error.message).to.include(text);
    }
    const error = await failureOf(collect(readImages(images, plain(4))));
    expect(error.message).to.match(/and 2 more$/);
    // a run that has used images before may end with bad ones
    await collect(readImages(images, plain(4), { summary: { used: 1, skipped: [] } }));
  });

  it('a file that goes away is skipped', async () => {
    const files = await set(2);
    const [first] = files;
    const gone = { path: 'gone.png', file: join(folder(), 'gone.png'), className: 'set' };
    const summary = emptySummary();
    await collect(readImages(first ? [gone, first] : [], plain(4), { summary }));
    expect(summary.skipped[0]?.reason).to.include('ENOENT');
    expect(summary.used).to.equal(1);
  });

  it('decode at most a batch ahead, end early without errors, and stop at a signal', async () => {
    const files = await set(30);
    let opened = 0;
    const counted = files.map((file) => ({
      ...file,
      get file() {
        opened++;
        return file.file;
      },
    }));
    for await (const batch of readImages(counted, plain(4), { batch: 4, concurrency: 2 })) {
      expect(batch.images).to.have.length(4);
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(opened).to.be.at.most(2 * (2 * 4 + 2 + 1));
      break;
    }
    const abort = new AbortController();
    const reason = new Error('enough');
    let seen = 0;
    const run = async (): Promise<void> => {
      for await (const batch of readImages(files, plain(4), { batch: 4, signal: abort.signal })) {
        seen += batch.images.length;
        abort.abort(reason);
      }
    };
    expect(await failureOf(run())).to.equal(reason);
    expect(seen).to.equal(4);
    expect(await failureOf(collect(readImages(files, plain(4), { batch: 0 })))).to.have.property(
      'code',
      'E_ARGUMENT',
    );
  });

  it('leave the event loop free', async () => {
    await put('set/a.png', await encode(corners(600, 500)).png().toBuffer());
    const [file] = (await listImages(join(folder(), 'set'))).images;
    const files = file ? Array.from({ length: 60 }, () => file) : [];
    let worst = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      worst = Math.max(worst, performance.now() - last);
      last = performance.now();
    }, 2);
    await collect(readImages(files, plain(224), { batch: 16, mirror: true }));
    clearInterval(timer);
    expect(worst).to.be.below(200); // tens of milliseconds on an idle machine
  });

  it('reads real photographs', async function () {
    if (!existsSync(photographs)) {
      console.log('      skipped: ../shared/data/animal-part is not here');
      this.skip();
    }
    const { images, classes } = await listImages(photographs);
    expect(images).to.have.length(4127);
    expect(classes).to.include.members(['dog', 'zebra', 'background']).and.have.length(11);
    const files = images.filter((_, i) => i % 100 === 0);
    const summary = emptySummary();
    const format = {
      size: 112,
      supersample: 2,
      channels: 'RGB',
      scale: 1 / 255,
      mean: [0.485, 0.456, 0.406],
      std: [0.229, 0.224, 0.225],
    } as const;
    const batches = await collect(readImages(files, format, { batch: 16, summary }));
    expect(summary).to.deep.equal({ used: files.length, skipped: [] });
    const [first] = files;
    const { data } = await sharp(await readFile(first?.file ?? ''))
      .raw()
      .toBuffer({ resolveWithObject: true });
    const block = [0, 3, 224 * 3, 225 * 3].map((step) => data[(20 * 224 + 40) * 3 + step] ?? 0);
    const byte = (block.reduce((a, b) => a + b) + 2) >> 2;
    expect(batches[0]?.pixels[10 * 112 + 20]).to.be.closeTo((byte / 255 - 0.485) / 0.229, 1e-5);
  });
});
