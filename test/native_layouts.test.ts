import { expect } from 'chai';
import { Random } from '../lib/random.js';
import { use } from './support/native.js';

const BLOCK = 16;
const ROWS = 0;
const MAPS = 1;
const CONV_WEIGHT = 2;
const LINEAR_WEIGHT = 3;

interface Type {
  layout: number;
  dims: readonly number[];
  chw?: readonly [number, number, number];
}

const padded = (n: number): number => Math.ceil(n / BLOCK) * BLOCK;

/** The words of a slot at the start of the arena. */
function slot(dtype: number, { layout, dims, chw = [0, 0, 0] }: Type): number[] {
  return [dtype, layout, dims.length, ...[0, 1, 2, 3].map((axis) => dims[axis] ?? 1), ...chw, 0];
}

/**
 * Where native/simd/layout.h puts the elements: the row-major index of each place in memory, -1 for
 * padding. Weights are panels of 16 outputs: [O/16][C/16][HW][16 c][16 o].
 */
function places({ layout, dims, chw }: Type): number[] {
  const four = layout === MAPS || layout === CONV_WEIGHT;
  const [d0 = 1, d1 = 1, d2 = 1, d3 = 1] = dims;
  const N = four || dims.length === 2 ? d0 : 1;
  const F = dims.length === 2 ? d1 : d0;
  const [C, HW] = four ? [d1, d2 * d3] : chw ? [chw[0], chw[1] * chw[2]] : [F, 1];
  const weight = layout === CONV_WEIGHT || layout === LINEAR_WEIGHT;
  const found: number[] = [];
  const put = (n: number, c: number, i: number): void => {
    found.push(n < N && c < C ? (n * C + c) * HW + i : -1);
  };
  for (let n = 0; n < N; n += weight ? BLOCK : 1) {
    for (let c0 = 0; c0 < C; c0 += BLOCK) {
      for (let i = 0; i < HW; i++) {
        for (let c = c0; c < c0 + BLOCK; c++) {
          for (let o = 0; o < (weight ? BLOCK : 1); o++) put(n + o, c, i);
        }
      }
    }
  }
  return found;
}

/** Every bit pattern is a value: NaN with a payload, -0, denormals. */
function bits(count: number, seed: number): Int32Array {
  const random = new Random(seed, 'layouts');
  const special = [0x7f800001, 0x7fc12345, -0x80000000, 1, -1, 0x7f800000];
  return Int32Array.from({ length: count }, (_, i) =>
    i < special.length ? (special[i] ?? 0) : Math.imul(random.int(2 ** 31), 2654435761),
  );
}

async function roundTrip(type: Type, dtype: number): Promise<void> {
  const where = places(type);
  const count = type.dims.reduce((a, b) => a * b, 1);
  const raw: Type = { layout: ROWS, dims: [where.length] };
  const words = Int32Array.of(0x504c, 1, 2, 0, ...slot(dtype, type), ...slot(1, raw));
  const values = bits(count, count);
  const given = dtype === 0 ? new Float32Array(values.buffer) : values;
  await use(padded(where.length) * 4, async (session) => {
    const id = session.addProgram(words);
    const [logical, physical] = [Int32Array.of(0), Int32Array.of(1)];
    await session.upload(id, physical, [new Int32Array(where.length).fill(0x5a5a5a5a)]);
    await session.upload(id, logical, [given]);
    const [memory] = await session.download(id, physical);
    const right = Int32Array.from(where, (place) => (place < 0 ? 0 : (values[place] ?? NaN)));
    expect(Buffer.compare(bytes(memory), bytes(right)), 'memory').to.equal(0);
    const [back] = await session.download(id, logical);
    expect(back?.constructor).to.equal(given.constructor);
    expect(Buffer.compare(bytes(back), bytes(values)), 'values').to.equal(0);
  });
}

function bytes(array: ArrayBufferView | undefined): Uint8Array {
  if (!array) throw new Error('no array');
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

describe('native: layouts', () => {
  const types: [string, Type[]][] = [
    [
      'rows',
      [[], [1], [15], [16], [17], [1, 1], [3, 16], [5, 17], [300, 33]].map((dims) => {
        return { layout: ROWS, dims };
      }),
    ],
    [
      'rows of flattened maps',
      (
        [
          [1, 1, 1],
          [17, 1, 1],
          [16, 3, 5],
          [3, 7, 2],
          [33, 5, 4],
        ] as const
      ).map((chw) => ({ layout: ROWS, dims: [3, chw[0] * chw[1] * chw[2]], chw })),
    ],
    [
      'maps',
      [
        [1, 1, 1, 1],
        [2, 16, 1, 1],
        [3, 17, 1, 1],
        [1, 3, 7, 5],
        [2, 16, 4, 4],
        [3, 31, 9, 13],
        [2, 33, 17, 16],
        [1, 2, 1, 600],
      ].map((dims) => ({ layout: MAPS, dims })),
    ],
    [
      'conv_weight',
      [
        [1, 1, 1, 1],
        [16, 16, 1, 1],
        [17, 15, 1, 1],
        [4, 3, 3, 3],
        [33, 17, 3, 2],
        [16, 32, 5, 5],
      ].map((dims) => ({ layout: CONV_WEIGHT, dims })),
    ],
    [
      'linear_weight',
      [
        [1, 1],
        [16, 16],
        [15, 17],
        [33, 100],
      ].map((dims) => ({ layout: LINEAR_WEIGHT, dims })),
    ],
    [
      'linear_weight of flattened maps',
      (
        [
          [1, 1, 1],
          [17, 1, 1],
          [16, 2, 3],
          [19, 7, 7],
        ] as const
      ).map((chw) => ({ layout: LINEAR_WEIGHT, dims: [18, chw[0] * chw[1] * chw[2]], chw })),
    ],
  ];
  for (const [name, cases] of types) {
    it(`${name} lie in memory as layout.h says, padding zero, and come back bit for bit`, async () => {
      for (const type of cases) {
        for (const dtype of [0, 1]) await roundTrip(type, dtype);
      }
    });
  }

  it('values of a SharedArrayBuffer and of a part of a buffer are taken', async () => {
    const type: Type = { layout: ROWS, dims: [2, 3] };
    await use(128, async (session) => {
      const id = session.addProgram(Int32Array.of(0x504c, 1, 1, 0, ...slot(0, type)));
      const first = Int32Array.of(0);
      for (const buffer of [new SharedArrayBuffer(40), new ArrayBuffer(40)]) {
        const values = new Float32Array(buffer, 8, 6).map((_, i) => i + 1);
        new Float32Array(buffer, 8, 6).set(values);
        await session.upload(id, first, [new Float32Array(buffer, 8, 6)]);
        expect([...((await session.download(id, first))[0] ?? [])]).to.deep.equal([...values]);
      }
    });
  });

  it('a large session costs its maker no time', async () => {
    const begin = performance.now();
    await use(2 ** 30, () => {
      expect(performance.now() - begin, 'ms').to.be.below(500);
    });
  });
});
