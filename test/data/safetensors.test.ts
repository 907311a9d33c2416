import { expect } from 'chai';
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  readSafetensors,
  SafetensorsFile,
  SafetensorsWriter,
  writeSafetensors,
} from '../../lib/data/safetensors.js';
import { failureOf, smallDisk, names, temporaryFolder } from './temporary.js';

/** A file of this header (text, or a value made JSON) and so many data bytes. */
function fileOf(header: unknown, dataBytes: number, length?: bigint): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([prefix, text, Buffer.alloc(dataBytes)]);
}

const entry = (dtype: unknown, shape: unknown, begin: unknown, end: unknown): unknown => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe('safetensors', () => {
  const folder = temporaryFolder();
  const path = (): string => join(folder(), 'a.safetensors');

  it('round-trips every element type, scalars, empty tensors, odd names and metadata', async () => {
    const tensors = {
      scalar: { shape: [], data: Float32Array.of(Math.PI) },
      'weights/ä"\\\n': { shape: [2, 3], data: Float32Array.of(1, -0, Infinity, NaN, 1e-40, 3) },
      __proto__x: { shape: [0, 5], data: new Int32Array(0) },
      u8: { shape: [3], data: Uint8Array.of(1, 2, 255) },
      f64: { shape: [2], data: Float64Array.of(Math.E, -1) },
      i64: { shape: [1], data: BigInt64Array.of(-(2n ** 60n)) },
      half: { shape: [2], data: Uint16Array.of(0x3c00, 0xc000), dtype: 'F16' as const },
      u16: { shape: [2], data: Uint16Array.of(1, 65535) },
      i8: { shape: [1], data: Int8Array.of(-3) },
      i32: { shape: [2, 1], data: Int32Array.of(-5, 2 ** 31 - 1) },
    };
    const metadata = { step: '12', text: 'ü\n"' };
    await writeSafetensors(path(), tensors, metadata);
    const found = await readSafetensors(path());
    expect(found.metadata).to.deep.equal(metadata);
    expect(Object.keys(found.tensors).sort()).to.deep.equal(Object.keys(tensors).sort());
    for (const [name, { shape, data }] of Object.entries(tensors)) {
      expect(found.tensors[name]?.shape).to.deep.equal(shape);
      expect(found.tensors[name]?.data).to.deep.equal(data);
    }
    expect(found.tensors['half']?.dtype).to.equal('F16');
    expect(found.tensors['u16']?.dtype).to.equal('U16');
    expect(await names(folder())).to.deep.equal(['a.safetensors']);
  });

  it('writes the bytes of the format', async () => {
    await writeSafetensors(path(), { a: { shape: [2], data: Float32Array.of(1, 2) } }, { k: 'v' });
    const bytes = await readFile(path());
    const length = Number(bytes.readBigUInt64LE());
    expect(length % 8).to.equal(0);
    expect(JSON.parse(bytes.toString('utf8', 8, 8 + length))).to.deep.equal({
      __metadata__: { k: 'v' },
      a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
    });
    expect(bytes.subarray(8 + length).equals(Buffer.from(Float32Array.of(1, 2).buffer))).to.equal(
      true,
    );
  });

  it('writes views of larger arrays', async () => {
    const data = Float32Array.from({ length: 10 }, (_, i) => i).subarray(3, 7);
    await writeSafetensors(path(), { a: { shape: [4], data } });
    expect((await readSafetensors(path())).tensors['a']?.data).to.deep.equal(
      Float32Array.of(3, 4, 5, 6),
    );
  });

  it('refuses data that does not fit its shape or type', async () => {
    const wrong = [
      { shape: [3], data: new Float32Array(2) },
      { shape: [2], data: new Float32Array(2), dtype: 'I32' as const },
    ];
    for (const tensor of wrong) {
      expect(await failureOf(writeSafetensors(path(), { a: tensor }))).to.have.property(
        'code',
        'E_SHAPE',
      );
    }
    const named = writeSafetensors(path(), {
      __metadata__: { shape: [1], data: new Float32Array(1) },
    });
    expect(await failureOf(named)).to.have.property('code', 'E_ARGUMENT');
    expect(await names(folder())).to.deep.equal([]);
  });

  it('reads ranges of rows', async () => {
    const data = Float32Array.from({ length: 60 }, (_, i) => i);
    await writeSafetensors(path(), {
      first: { shape: [7], data: new Uint8Array(7) },
      a: { shape: [10, 2, 3], data },
    });
    const file = await SafetensorsFile.open(path());
    expect(await file.readRows('a', 4, 2)).to.deep.equal(data.slice(24, 36));
    expect(await file.readRows('a', 10, 0)).to.have.length(0);
    const into = new Uint8Array(24);
    await file.readRowBytes('a', 9, 1, into);
    expect(new Float32Array(into.buffer)).to.deep.equal(data.slice(54));
    for (const [first, count] of [
      [9, 2],
      [-1, 1],
      [0.5, 1],
      [0, NaN],
    ] as const) {
      const error = await failureOf(file.readRowBytes('a', first, count, new Uint8Array(100)));
      expect(error).to.have.property('code', 'E_ARGUMENT');
    }
    expect(await failureOf(file.readRowBytes('a', 0, 2, into))).to.have.property(
      'code',
      'E_ARGUMENT',
    );
    expect(await failureOf(file.read('b'))).to.have.property('code', 'E_FILE');
    await truncate(path(), 200);
    expect((await failureOf(file.readRows('a', 4, 2))).message).to.include('truncated');
    await file.close();
  });

  describe('hostile files', () => {
    const hostile: [string, Buffer, RegExp][] = [
      ['empty', Buffer.alloc(0), /truncated, it has 0 bytes/],
      ['seven bytes', Buffer.alloc(7), /truncated/],
      ['a header of 2^63 bytes', fileOf({}, 0, 2n ** 63n), /a header of 9223372036854775808 bytes/],
      ['a header over the limit', fileOf({}, 0, 100_000_001n), /a header of 100000001 bytes/],
      ['a header longer than the file', fileOf({}, 0, 1000n), /truncated within its header/],
      ['no header', fileOf('', 0), /no JSON text/],
      ['no JSON', fileOf('{"a":', 0), /no JSON text/],
      ['no UTF-8', Buffer.concat([fileOf('{}', 0, 4n), Buffer.from([0xff, 0xfe])]), /no JSON text/],
      ['an array', fileOf([], 0), /no JSON object/],
      ['null', fileOf('null', 0), /no JSON object/],
      ['space before the header', fileOf(' {}', 0), /no JSON object/],
      ['metadata of numbers', fileOf({ __metadata__: { a: 1 } }, 0), /metadata/],
      ['an entry that is none', fileOf({ a: 3 }, 0), /the entry of "a"/],
      ['an unknown type', fileOf({ a: entry('F12', [1], 0, 4) }, 4), /unknown dtype of "a"/],
      ['a type of the prototype', fileOf({ a: entry('toString', [1], 0, 4) }, 4), /unknown dtype/],
      ['a negative size', fileOf({ a: entry('F32', [-1], 0, 4) }, 4), /wrong shape/],
      ['a size that is no integer', fileOf({ a: entry('F32', [0.5, 2], 0, 4) }, 4), /wrong shape/],
      [
        'a size beyond 2^53',
        fileOf(`{"a":{"dtype":"F32","shape":[1e300],"data_offsets":[0,4]}}`, 4),
        /wrong shape/,
      ],
      ['sizes that overflow', fileOf({ a: entry('U8', [2 ** 32, 2 ** 32], 0, 0) }, 0), /disagree/],
      ['negative offsets', fileOf({ a: entry('F32', [1], -4, 0) }, 4), /wrong data_offsets/],
      ['offsets the wrong way', fileOf({ a: entry('F32', [1], 4, 0) }, 4), /disagree/],
      [
        'three offsets',
        fileOf({ a: { dtype: 'F32', shape: [1], data_offsets: [0, 4, 4] } }, 4),
        /wrong data_offsets/,
      ],
      ['a tensor shorter than its shape', fileOf({ a: entry('F32', [2], 0, 4) }, 4), /disagree/],
      [
        'data beyond the end',
        fileOf({ a: entry('F32', [2], 0, 8) }, 4),
        /truncated, 4 bytes are missing/,
      ],
      ['bytes behind the data', fileOf({ a: entry('F32', [1], 0, 4) }, 8), /4 bytes follow/],
      [
        'an overlap',
        fileOf({ a: entry('F32', [2], 0, 8), b: entry('F32', [1], 4, 8) }, 8),
        /"b" overlaps/,
      ],
      [
        'twice the same bytes',
        fileOf({ a: entry('F32', [1], 0, 4), b: entry('F32', [1], 0, 4) }, 4),
        /overlaps/,
      ],
      [
        'a hole',
        fileOf({ a: entry('F32', [1], 0, 4), b: entry('F32', [1], 8, 12) }, 12),
        /"b" follows a hole/,
      ],
      [
        'a name twice',
        fileOf(
          '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061" :{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
          1,
        ),
        /names "a" twice/,
      ],
      [
        'a field twice',
        fileOf('{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', 1),
        /"dtype" twice/,
      ],
    ];
    for (const [what, bytes, message] of hostile) {
      it(`${what}: E_FILE`, async () => {
        await writeFile(path(), bytes);
        const error = await failureOf(readSafetensors(path()));
        expect(error.message).to.match(message);
        expect(error).to.have.property('code', 'E_FILE');
      });
    }

    it('a folder, a missing file: E_FILE', async () => {
      await mkdir(path());
      expect((await failureOf(readSafetensors(path()))).message).to.include('no regular file');
      const missing = await failureOf(readSafetensors(join(folder(), 'no')));
      expect(missing.message).to.include('ENOENT');
      expect(missing).to.have.property('code', 'E_FILE');
    });

    it('cut at any byte: E_FILE', async () => {
      await writeSafetensors(path(), { a: { shape: [3], data: Float32Array.of(1, 2, 3) } });
      const bytes = await readFile(path());
      for (let length = 0; length < bytes.length; length++) {
        await writeFile(path(), bytes.subarray(0, length));
        expect(await failureOf(readSafetensors(path()))).to.have.property('code', 'E_FILE');
      }
    });
  });

  describe('writer', () => {
    const declared = {
      small: { dtype: 'F16', shape: [8] },
      a: { dtype: 'F32', shape: [8, 3] },
      b: { dtype: 'F32', shape: [8, 2, 2] },
    } as const;
    const rows = (first: number, count: number, size: number): Float32Array =>
      Float32Array.from({ length: count * size }, (_, i) => first * size + i);

    it('takes rows in any order', async () => {
      const writer = await SafetensorsWriter.create(path(), declared, { k: 'v' });
      await writer.write('b', 5, rows(5, 3, 4));
      await writer.write('a', 0, rows(0, 8, 3));
      await writer.write('b', 0, rows(0, 5, 4));
      await writer.write('small', 0, new Uint16Array(8).fill(7));
      expect((await names(folder())).filter((name) => !name.startsWith('.'))).to.deep.equal([]);
      await writer.finish();
      const { tensors } = await readSafetensors(path());
      expect(tensors['a']?.data).to.deep.equal(rows(0, 8, 3));
      expect(tensors['b']?.data).to.deep.equal(rows(0, 8, 4));
      expect(await names(folder())).to.deep.equal(['a.safetensors']);
    });

    for (const kept of [0, 1, 5, 8, 9]) {
      it(`keeps ${String(kept)} of 8 rows`, async () => {
        const writer = await SafetensorsWriter.create(path(), declared);
        const count = Math.min(kept, 8);
        await writer.write('a', 0, rows(0, count, 3));
        await writer.write('b', 0, rows(0, count, 4));
        await writer.write('small', 0, new Uint16Array(count).fill(7));
        await writer.finish(kept);
        const { tensors } = await readSafetensors(path());
        expect(tensors['a']).to.deep.equal({
          dtype: 'F32',
          shape: [count, 3],
          data: rows(0, count, 3),
        });
        expect(tensors['b']?.shape).to.deep.equal([count, 2, 2]);
        expect(tensors['b']?.data).to.deep.equal(rows(0, count, 4));
        expect(tensors['small']?.data).to.deep.equal(new Uint16Array(count).fill(7));
      });
    }

    it('refuses rows outside of what was declared, and leaves nothing', async () => {
      for (const [name, first, length] of [
        ['a', 7, 6],
        ['a', -1, 3],
        ['a', 0, 4],
        ['c', 0, 1],
      ] as const) {
        const writer = await SafetensorsWriter.create(path(), declared);
        const error = await failureOf(writer.write(name, first, new Float32Array(length)));
        expect(error.code).to.match(/E_SHAPE|E_ARGUMENT/);
        await writer.discard();
        expect(await names(folder())).to.deep.equal([]);
      }
    });

    it('leaves the old file and nothing else when the disk is full', async () => {
      const undo = await smallDisk(folder(), 64);
      try {
        const old = { a: { shape: [4], data: Float32Array.of(1, 2, 3, 4) } };
        await writeSafetensors(path(), old);
        const large = { a: { shape: [40_000], data: new Float32Array(40_000) } };
        const error = await failureOf(writeSafetensors(path(), large));
        expect(error).to.have.property('code', 'E_FILE');
        expect(error.message).to.include('ENOSPC');
        expect(await names(folder())).to.deep.equal(['a.safetensors']);
        expect((await readSafetensors(path())).tensors['a']?.data).to.deep.equal(old.a.data);
      } finally {
        undo();
      }
    });
  });
});
