import { expect } from 'chai';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { readImage, readImageSize } from '../../lib/data/images.js';
import { animation, at, corners, encode, expectNear, picture, plain } from './pictures.js';
import { failureOf, temporaryFolder } from './temporary.js';

describe('decoding images', () => {
  const folder = temporaryFolder();
  const put = async (name: string, bytes: Uint8Array | string): Promise<string> => {
    const path = join(folder(), name);
    await writeFile(path, bytes);
    return path;
  };
  it('keeps the bytes of an image of the right size, in NCHW order', async () => {
    const original = picture(5, 5, (x, y) => [x * 50, y * 50, x + y]);
    const path = await put('a.png', await encode(original).png().toBuffer());
    const { pixels, mirrored, width, height } = await readImage(path, plain(5), { mirror: true });
    expect([width, height]).to.deep.equal([5, 5]);
    for (let y = 0; y < 5; y++) {
      for (let x = 0; x < 5; x++) {
        expect(at(pixels, 5, y, x)).to.deep.equal([x * 50, y * 50, x + y]);
        expect(at(mirrored ?? pixels, 5, y, 4 - x)).to.deep.equal([x * 50, y * 50, x + y]);
      }
    }
  });

  it('averages blocks, (sum + 2) / 4 rounded down', async () => {
    const values = [0, 1, 1, 0, 255, 254, 10, 20, 3, 3, 2, 2, 9, 9, 9, 8];
    const original = picture(4, 4, (x, y) => {
      const value = values[y * 4 + x] ?? 0;
      return [value, 255 - value, 7];
    });
    const path = await put('a.png', await encode(original).png().toBuffer());
    const { pixels } = await readImage(path, plain(2, { supersample: 2 }));
    const block = (y: number, x: number, of: (value: number) => number): number => {
      const places = [0, 1, 4, 5].map((step) => of(values[y * 8 + x * 2 + step] ?? 0));
      return Math.floor((places.reduce((a, b) => a + b) + 2) / 4);
    };
    for (const [y, x] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      const wanted = [block(y, x, (v) => v), block(y, x, (v) => 255 - v), 7];
      expect(at(pixels, 2, y, x)).to.deep.equal(wanted);
    }
    const odd = await readImage(path, plain(1, { supersample: 4 }));
    expect(odd.pixels[0]).to.equal(Math.floor((values.reduce((a, b) => a + b) + 8) / 16));
  });

  it('scales, subtracts the mean, divides by the deviation, in the order of the channels', async () => {
    const path = await put(
      'a.png',
      await encode(picture(2, 2, () => [51, 102, 204]))
        .png()
        .toBuffer(),
    );
    const numbers = { scale: 1 / 255, mean: [0.1, 0.2, 0.3], std: [0.5, 0.25, 2] } as const;
    const rgb = await readImage(path, plain(2, numbers));
    expectNear(
      at(rgb.pixels, 2, 1, 0),
      [(0.2 - 0.1) / 0.5, (0.4 - 0.2) / 0.25, (0.8 - 0.3) / 2],
      1e-6,
    );
    const bgr = await readImage(path, plain(2, { ...numbers, channels: 'BGR' }));
    expectNear(
      at(bgr.pixels, 2, 1, 0),
      [(0.8 - 0.1) / 0.5, (0.4 - 0.2) / 0.25, (0.2 - 0.3) / 2],
      1e-6,
    );
  });

  it('stretches: each place keeps its share of the image', async () => {
    const ramp = picture(120, 30, (x, y) => [2 * x, 8 * y, 0]);
    const path = await put('a.png', await encode(ramp).png().toBuffer());
    const { pixels, width, height } = await readImage(path, plain(15));
    expect([width, height]).to.deep.equal([120, 30]);
    // pixel centres meet pixel centres: x' = (x + 0.5) * 15 / 120 - 0.5
    for (const [y, x] of [
      [7, 7],
      [4, 10],
      [11, 3],
    ] as const) {
      expectNear(
        at(pixels, 15, y, x),
        [2 * ((x + 0.5) * 8 - 0.5), 8 * ((y + 0.5) * 2 - 0.5), 0],
        1.5,
      );
    }
    const enlarged = await readImage(path, plain(240));
    expectNear(at(enlarged.pixels, 240, 120, 120), [2 * 60, 8 * 15, 0], 5);
  });

  it('stretches to a height and a width, mirrors and averages there', async () => {
    const ramp = picture(48, 16, (x, y) => [5 * x, 15 * y, 7]);
    const path = await put('a.png', await encode(ramp).png().toBuffer());
    const format = plain([8, 12], { supersample: 2, channels: 'BGR' });
    const { pixels, mirrored, width, height } = await readImage(path, format, { mirror: true });
    expect([width, height, pixels.length]).to.deep.equal([48, 16, 3 * 8 * 12]);
    const of = (data: Float32Array, y: number, x: number): number[] =>
      [0, 1, 2].map((c) => data[(c * 8 + y) * 12 + x] ?? NaN);
    for (const [y, x] of [
      [4, 6],
      [2, 9],
      [6, 3],
    ] as const) {
      const wanted = [7, 15 * ((y + 0.5) * 2 - 0.5), 5 * ((x + 0.5) * 4 - 0.5)];
      expectNear(of(pixels, y, x), wanted, 1.5);
      expect(of(mirrored ?? pixels, y, 11 - x)).to.deep.equal(of(pixels, y, x));
    }
    const exact = await readImage(path, plain([16, 48]));
    expect(exact.pixels[(16 + 3) * 48 + 40]).to.equal(45);
    expect(exact.pixels[3 * 48 + 40]).to.equal(200);
  });

  it('places the image in a part of the input and repeats its edges around it', async () => {
    const original = picture(5, 4, (x, y) => [x * 50, y * 50, x + y]);
    const path = await put('a.png', await encode(original).png().toBuffer());
    const place = { top: 2, left: 1, height: 4, width: 5 };
    const { pixels, mirrored, width } = await readImage(path, plain(9), { place, mirror: true });
    expect(width, 'of the photograph').to.equal(5);
    for (let y = 0; y < 9; y++) {
      for (let x = 0; x < 9; x++) {
        const [v, u] = [Math.min(3, Math.max(0, y - 2)), Math.min(4, Math.max(0, x - 1))];
        expect(at(pixels, 9, y, x)).to.deep.equal([u * 50, v * 50, u + v]);
        expect(at(mirrored ?? pixels, 9, y, 8 - x)).to.deep.equal([u * 50, v * 50, u + v]);
      }
    }
    // one network pixel is 2 x 2 of the stretched image: half a pixel is a place
    const rgba = plain(4, {
      supersample: 2,
      channels: 'RGBA',
      mean: [0, 0, 0, 0],
      std: [1, 1, 1, 1],
    });
    const half = await readImage(path, rgba, { place: { top: 0.5, left: 0, height: 3, width: 4 } });
    expect(half.pixels.subarray(48).every((alpha) => alpha === 255)).to.equal(true);
    const ramp = encode(picture(60, 40, (x, y) => [4 * x, 6 * y, 0]));
    const big = await put('b.png', await ramp.png().toBuffer());
    const small = await readImage(big, plain(40), {
      place: { top: 10, left: 5, height: 20, width: 30 },
    });
    for (const [y, x] of [
      [15, 10],
      [20, 20],
      [26, 31],
    ] as const) {
      const wanted = [4 * ((x + 0.5 - 5) * 2 - 0.5), 6 * ((y + 0.5 - 10) * 2 - 0.5), 0];
      expectNear(at(small.pixels, 40, y, x), wanted, 1.5);
    }
    let error: unknown;
    const outside = { ...place, top: 6 };
    await readImage(path, plain(9), { place: outside }).catch(
      (caught: unknown) => (error = caught),
    );
    expect(error)
      .to.have.property('message')
      .that.matches(/within the input for placement/);
  });

  it("makes grey of colours as PIL's mode L does, grey images keep their values", async () => {
    // 0.299 R + 0.587 G + 0.114 B by hand, to the nearest whole number
    const known = [
      [[255, 0, 0], 76],
      [[0, 255, 0], 150],
      [[0, 0, 255], 29],
      [[10, 20, 30], 18],
      [[200, 100, 50], 124],
      [[1, 254, 3], 150],
      [[90, 90, 90], 90],
      [[123, 45, 67], 71],
    ] as const;
    const colours = picture(known.length, 2, (x) => known[x]?.[0] ?? [0, 0, 0]);
    const path = await put('a.png', await encode(colours).png().toBuffer());
    const grey = { channels: 'grey', mean: [0], std: [1] } as const;
    const wanted = known.map(([, value]) => value);
    const { pixels, mirrored } = await readImage(path, plain([2, known.length], grey), {
      mirror: true,
    });
    expect([...pixels]).to.deep.equal([...wanted, ...wanted]);
    expect([...(mirrored ?? [])]).to.deep.equal([...wanted, ...wanted].reverse());
    const scaled = { ...grey, scale: 1 / 255, mean: [0.5], std: [0.25] };
    expect((await readImage(path, plain([2, known.length], scaled))).pixels[1]).to.be.closeTo(
      (150 / 255 - 0.5) / 0.25,
      1e-6,
    );
    const ramp = encode(picture(16, 16, (x, y) => [x * 16 + y, x * 16 + y, x * 16 + y]));
    const stored = await put('b.png', await ramp.toColourspace('b-w').png().toBuffer());
    const kept = await readImage(stored, plain(16, grey));
    kept.pixels.forEach((value, i) => expect(value).to.equal((i % 16) * 16 + Math.floor(i / 16)));
  });

  it('takes the alpha channel as the fourth, 255 where there is none', async () => {
    const rgba = { channels: 'RGBA', mean: [0, 0, 0, 0], std: [1, 1, 1, 2] } as const;
    const data = Buffer.from([255, 0, 0, 128, 10, 20, 30, 0, 1, 2, 3, 255, 7, 8, 9, 64]);
    const raw = { width: 4, height: 1, channels: 4 } as const;
    const bytes = await sharp(Buffer.concat([data, data]), { raw: { ...raw, height: 2 } })
      .png()
      .toBuffer();
    const { pixels } = await readImage(await put('a.png', bytes), plain([2, 4], rgba));
    const at4 = (x: number): number[] => [0, 1, 2, 3].map((c) => pixels[c * 8 + x] ?? NaN);
    expect([0, 1, 2, 3].map(at4)).to.deep.equal([
      [255, 0, 0, 64],
      [10, 20, 30, 0],
      [1, 2, 3, 127.5],
      [7, 8, 9, 32],
    ]);
    const opaque = [
      encode(corners(16, 16)).png(),
      encode(corners(16, 16)).toColourspace('rgb16').png(),
      encode(corners(16, 16)).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }),
      encode(corners(16, 16)).greyscale().png(),
    ];
    for (const image of opaque) {
      const path = await put('b.img', await image.toBuffer());
      for (const size of [16, 8]) {
        const { pixels: found } = await readImage(
          path,
          plain(size, { ...rgba, std: [1, 1, 1, 1] }),
        );
        expect([...found.subarray(3 * size * size)].every((alpha) => alpha === 255)).to.equal(true);
        const colours = await readImage(path, plain(size));
        expectNear([...found.subarray(0, 3 * size * size)], [...colours.pixels], 1);
      }
    }
  });

  const formats: [string, () => Promise<Buffer>, number][] = [
    ['JPEG', () => encode(corners(64, 64)).jpeg({ quality: 95 }).toBuffer(), 6],
    ['WebP', () => encode(corners(64, 64)).webp({ quality: 95 }).toBuffer(), 12],
    ['palette PNG', () => encode(corners(64, 64)).png({ palette: true }).toBuffer(), 3],
    ['16-bit PNG', () => encode(corners(64, 64)).toColourspace('rgb16').png().toBuffer(), 1],
    ['progressive JPEG', () => encode(corners(64, 64)).jpeg({ progressive: true }).toBuffer(), 12],
    ['TIFF', () => encode(corners(64, 64)).tiff({ compression: 'lzw' }).toBuffer(), 0],
    ['AVIF', () => encode(corners(64, 64)).avif({ quality: 90 }).toBuffer(), 12],
    ['GIF', () => encode(corners(64, 64)).gif().toBuffer(), 3],
    ['PNG with alpha 1', () => encode(corners(64, 64)).ensureAlpha(1).png().toBuffer(), 0],
  ];
  for (const [what, bytes, tolerance] of formats) {
    it(`reads ${what}`, async () => {
      const { pixels } = await readImage(await put('a.img', await bytes()), plain(64));
      expectNear(at(pixels, 64, 10, 10), [240, 0, 0], tolerance);
      expectNear(at(pixels, 64, 10, 50), [0, 240, 0], tolerance);
      expectNear(at(pixels, 64, 50, 10), [120, 0, 0], tolerance);
    });
  }

  it('reads CMYK: the colours stay themselves', async () => {
    for (const profile of [false, true]) {
      const image = encode(corners(64, 64)).toColourspace('cmyk');
      const bytes = await (profile ? image.withIccProfile('cmyk') : image).jpeg().toBuffer();
      expect((await sharp(bytes).metadata()).space).to.equal('cmyk');
      const { pixels } = await readImage(await put('a.jpg', bytes), plain(64));
      const [r = 0, g = 0] = at(pixels, 64, 10, 10);
      expect(r)
        .to.be.above(150)
        .and.above(2 * g);
    }
  });

  it("takes CMYK by the file's own profile", async () => {
    // In the profile's table from inks to Lab (A2B0, mft2: big-endian words behind a header of 52 bytes) every
    // output is set to L = 50 %, a = b = 0: whatever the inks, the colour is one grey.
    const flat = encode(picture(32, 32, () => [200, 60, 30]));
    const file = await flat
      .toColourspace('cmyk')
      .withIccProfile('cmyk')
      .tiff({ compression: 'none' })
      .toBuffer();
    const usual = await readImage(await put('a.tif', file), plain(32));
    expectNear(at(usual.pixels, 32, 9, 9), [200, 60, 30], 12);
    const { icc = Buffer.alloc(0) } = await sharp(file).metadata();
    const profile = file.subarray(file.indexOf(icc), file.indexOf(icc) + icc.length);
    const table = profile.readUInt32BE(profile.indexOf('A2B0') + 4);
    const [inputs, grid] = [4 * profile.readUInt16BE(table + 48), profile[table + 10] ?? 0];
    const values = table + 52 + 2 * inputs;
    for (let i = 0; i < grid ** 4; i++) {
      [0x8000, 0x8000, 0x8000].forEach((v, c) => profile.writeUInt16BE(v, values + 6 * i + 2 * c));
    }
    const { pixels } = await readImage(await put('b.tif', file), plain(32));
    const [r = 0, g = 0, b = 0] = at(pixels, 32, 9, 9);
    expect(Math.max(r, g, b) - Math.min(r, g, b), [r, g, b].join()).to.be.below(6);
  });

  it('reads grey images, 8 and 16 bits, as three equal channels', async () => {
    const grey = encode(picture(16, 16, () => [90, 90, 90]));
    const files = [
      await grey.clone().toColourspace('b-w').png().toBuffer(),
      await grey.clone().toColourspace('grey16').png().toBuffer(),
      await grey.clone().greyscale().jpeg().toBuffer(),
    ];
    for (const bytes of files) {
      const { pixels } = await readImage(await put('a.png', bytes), plain(16));
      expectNear(at(pixels, 16, 5, 5), [90, 90, 90], 1);
    }
  });

  it('lays transparent pixels on white', async () => {
    const bytes = await sharp({
      create: {
        width: 4,
        height: 4,
        channels: 4,
        background: { r: 255, g: 0, b: 0, alpha: 0.5 },
      },
    })
      .png()
      .toBuffer();
    const { pixels } = await readImage(await put('a.png', bytes), plain(4));
    expectNear(at(pixels, 4, 1, 1), [255, 127, 127], 1);
  });

  it('takes the first frame of an animation', async () => {
    const frames = [picture(6, 4, () => [250, 0, 0]), picture(6, 4, () => [0, 0, 250])];
    const path = await put('a.webp', await animation(frames));
    const { pixels, width, height } = await readImage(path, plain(4));
    expect([width, height]).to.deep.equal([6, 4]);
    expectNear(at(pixels, 4, 3, 3), [250, 0, 0], 2);
    expect(await readImageSize(path)).to.deep.equal({ width: 6, height: 4 });
  });

  it('turns images upright by their EXIF orientation, all eight', async () => {
    const upright = corners(48, 32);
    // how the pixels lie in a file that the orientation turns upright
    const stored: Record<number, { angle?: number; mirror?: 'flip' | 'flop' }> = {
      1: {},
      2: { mirror: 'flop' },
      3: { angle: 180 },
      4: { mirror: 'flip' },
      5: { angle: 90, mirror: 'flop' },
      6: { angle: 270 },
      7: { angle: 90, mirror: 'flip' },
      8: { angle: 90 },
    };
    for (const [orientation, { angle = 0, mirror }] of Object.entries(stored)) {
      const rotated = sharp(await encode(upright).rotate(angle).png().toBuffer());
      const turned = await (mirror ? rotated[mirror]() : rotated).png().toBuffer();
      const bytes = await sharp(turned)
        .withMetadata({ orientation: Number(orientation) })
        .jpeg()
        .toBuffer();
      const path = await put('a.jpg', bytes);
      expect(await readImageSize(path)).to.deep.equal({ width: 48, height: 32 });
      const { pixels, width, height } = await readImage(path, plain(32));
      expect([width, height]).to.deep.equal([48, 32]);
      expectNear(at(pixels, 32, 6, 6), [240, 0, 0], 12);
      expectNear(at(pixels, 32, 6, 26), [0, 240, 0], 12);
      expectNear(at(pixels, 32, 26, 6), [120, 0, 0], 12);
    }
  });

  it('does not mind a few bytes too many between JPEG markers', async () => {
    const jpeg = await encode(corners(32, 32)).jpeg().toBuffer();
    const bytes = Buffer.concat([jpeg.subarray(0, 20), Buffer.alloc(3), jpeg.subarray(20)]);
    const { pixels } = await readImage(await put('a.jpg', bytes), plain(32));
    expectNear(at(pixels, 32, 4, 4), [240, 0, 0], 12);
  });

  it('names what a single file lacks', async () => {
    const error = await failureOf(readImage(await put('a.jpg', ''), plain(4)));
    expect(error).to.have.property('code', 'E_FILE');
    expect(error.message).to.match(/a\.jpg cannot be used: empty file\.$/);
    const missing = await failureOf(readImage(join(folder(), 'b.jpg'), plain(4)));
    expect(missing.message).to.match(/^Cannot read .*b\.jpg: ENOENT/);
  });
});
