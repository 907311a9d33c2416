import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { unzipSync } from 'fflate';
import { NpzWriter } from '../../lib/data/npz_writer.js';
import { centralDirectory, crc32, joinCrc, localHeader } from '../../lib/data/zip.js';
import { readNpz } from '../support/npz_read.js';
import { failureOf, names, temporaryFolder } from './temporary.js';

/** Bit by bit, as the definition has it. */
function plainCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

const bytesOf = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 17 + (i >> 3)) & 0xff);
const floats = (length: number, first: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => first + i / 8);

describe('zip: stored files', () => {
  it('sums as the definition says, in pieces, and with a head that is known last', () => {
    expect(crc32(Buffer.from('123456789'))).to.equal(0xcbf43926);
    for (const [a, b] of [
      [0, 0],
      [0, 5],
      [7, 0],
      [128, 1],
      [64, 1000],
      [3, 65537],
    ] as const) {
      const [first, second] = [bytesOf(a, 1), bytesOf(b, 2)];
      const whole = plainCrc(Buffer.concat([first, second]));
      expect(crc32(second, crc32(first))).to.equal(whole);
      expect(joinCrc(crc32(first), crc32(second), b)).to.equal(whole);
    }
  });

  it('writes zip64 records where sizes, places or numbers need them, and only there', () => {
    const [size, offset, start] = [5 * 2 ** 32 + 3, 2 ** 33 + 1, 2 ** 35 + 7];
    const large = Buffer.from(centralDirectory([{ name: 'ä', crc: 9, size, offset }], start));
    expect(large.readUInt32LE(20)).to.equal(0xffffffff);
    expect(large.subarray(46, 48).toString()).to.equal('ä');
    expect([large.readUInt16LE(48), large.readUInt16LE(50)]).to.deep.equal([1, 24]);
    const longs = [52, 60, 68].map((at) => Number(large.readBigUInt64LE(at)));
    expect(longs).to.deep.equal([size, size, offset]);
    const end = large.subarray(46 + 2 + 28);
    expect(end.readUInt32LE(0)).to.equal(0x06064b50);
    expect(Number(end.readBigUInt64LE(48))).to.equal(start);
    expect(end.readUInt32LE(56)).to.equal(0x07064b50);
    expect(Number(end.readBigUInt64LE(64))).to.equal(start + 76);
    expect(end.readUInt32LE(76)).to.equal(0x06054b50);
    expect(end.readUInt32LE(76 + 16)).to.equal(0xffffffff);
    const small = centralDirectory([{ name: 'a', crc: 9, size: 1, offset: 2 }], 3);
    expect(small).to.have.length(46 + 1 + 22);
    const head = Buffer.from(localHeader({ name: 'ä', crc: 9, size }));
    expect(Number(head.readBigUInt64LE(36))).to.equal(size);
    expect(head).to.have.length(localHeader({ name: 'ä', crc: 0, size: 0 }).length);
  });
});

describe('npz: row by row', () => {
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder(), name);

  /** Writes `rows` of the `declared` rows of two arrays, in steps of three. */
  async function write(path: string, declared: number, rows: number): Promise<void> {
    const writer = await NpzWriter.create(path, { maps: [2, 3, 1], '/a/b,c': [5] }, declared);
    for (let first = 0; first < rows; first += 3) {
      const count = Math.min(3, rows - first);
      await writer.append('maps', floats(6 * count, 6 * first));
      await writer.append('/a/b,c', floats(5 * count, -first));
    }
    const data = Array.from({ length: rows }, (_, i) => `ä/${i}.png`);
    await writer.finish({ images: { shape: [rows], data } });
  }

  for (const [declared, rows] of [
    [7, 7],
    [7, 4],
    [100_000, 9],
    [3, 0],
  ] as const) {
    it(`${rows} of ${declared} rows: arrays without gaps, sums that are right`, async () => {
      await write(at('a.npz'), declared, rows);
      const bytes = await readFile(at('a.npz'));
      const files = unzipSync(bytes);
      expect(Object.keys(files)).to.deep.equal(['maps.npy', '/a/b,c.npy', 'images.npy']);
      const mark = 'PK\x01\x02';
      for (let entry = bytes.indexOf(mark); entry >= 0; entry = bytes.indexOf(mark, entry + 1)) {
        const name = bytes.toString(
          'utf8',
          entry + 46,
          entry + 46 + bytes.readUInt16LE(entry + 28),
        );
        expect(bytes.readUInt32LE(entry + 16), name).to.equal(plainCrc(files[name]!));
      }
      const found = readNpz(at('a.npz'), ['maps', '/a/b,c']);
      expect(found['maps']?.dims).to.deep.equal([rows, 2, 3, 1]);
      expect(found['/a/b,c']?.dims).to.deep.equal([rows, 5]);
      for (let first = 0; first < rows; first += 3) {
        const count = Math.min(3, rows - first);
        const maps = found['maps']?.data.subarray(6 * first, 6 * (first + count));
        expect([...(maps ?? [])]).to.deep.equal([...floats(6 * count, 6 * first)]);
        const vectors = found['/a/b,c']?.data.subarray(5 * first, 5 * (first + count));
        expect([...(vectors ?? [])]).to.deep.equal([...floats(5 * count, -first)]);
      }
      await write(at('b.npz'), declared, rows);
      expect(bytes.equals(await readFile(at('b.npz')))).to.equal(true);
    });
  }

  it('more rows than declared, other sizes and arrays of other rows leave nothing', async () => {
    const wrong: ((writer: NpzWriter) => Promise<void>)[] = [
      (writer) => writer.append('a', floats(3, 0)),
      (writer) => writer.append('a', floats(8, 0)),
      async (writer) => {
        await writer.append('a', floats(4, 0));
        await writer.append('b', floats(1, 0));
        await writer.finish();
      },
    ];
    for (const run of wrong) {
      const writer = await NpzWriter.create(at('a.npz'), { a: [2], b: [1] }, 3);
      expect(await failureOf(run(writer))).to.have.property('code', 'E_SHAPE');
      expect(await names(folder())).to.deep.equal([]);
    }
    const writer = await NpzWriter.create(at('a.npz'), { a: [2] }, 3);
    expect(await failureOf(writer.append('z', floats(2, 0)))).to.have.property(
      'code',
      'E_ARGUMENT',
    );
    await writer.discard();
    expect(await names(folder())).to.deep.equal([]);
  });
});
