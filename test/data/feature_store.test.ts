import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  FeatureStore,
  type FeatureRow,
  type FeatureStoreSpec,
} from '../../lib/data/feature_store.js';
import { Random } from '../../lib/random.js';
import { LOADER, moduleFile } from '../support/source.js';
import { failureOf, smallDisk, names, temporaryFolder } from './temporary.js';

const SPEC: FeatureStoreSpec = {
  fingerprint: 'f1',
  tensors: { maps: [2, 3, 3], fc: [5] },
  // 4 rows of 92 bytes
  shardBytes: 400,
};

/** Row i: maps 100 i, 100 i + 1, ... and fc minus i. */
function dataOf(first: number, count: number): Record<string, Float32Array> {
  return {
    maps: Float32Array.from(
      { length: count * 18 },
      (_, k) => 100 * (first + Math.floor(k / 18)) + (k % 18),
    ),
    fc: Float32Array.from({ length: count * 5 }, (_, k) => -(first + Math.floor(k / 5))),
  };
}

function rowsOf(first: number, count: number): FeatureRow[] {
  return Array.from({ length: count }, (_, k) => ({
    image: `dog/${String(first + k)}.jpg`,
    mirrored: false,
    className: 'dog',
    width: 20 + k,
    height: 10,
  }));
}

async function fill(store: FeatureStore, counts: number[]): Promise<void> {
  for (const count of counts) {
    await store.append(rowsOf(store.count, count), dataOf(store.count, count));
  }
}

describe('feature store', () => {
  const temporary = temporaryFolder();
  const folder = (): string => join(temporary(), 'features');
  const stores: FeatureStore[] = [];
  const keep = (store: FeatureStore | undefined): FeatureStore => {
    if (!store) throw new Error('no store');
    stores.push(store);
    return store;
  };
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close().catch(() => undefined);
  });

  const filled = async (
    counts: number[],
    spec: Partial<FeatureStoreSpec> = {},
  ): Promise<FeatureStore> => {
    const store = keep(await FeatureStore.create(folder(), { ...SPEC, ...spec }));
    await fill(store, counts);
    await store.finish();
    return store;
  };

  it('gives back what was stored, in shards of bounded size', async () => {
    const store = await filled([3, 1, 2, 4, 1]);
    expect(store.count).to.equal(11);
    expect(store.rows).to.deep.equal([
      ...rowsOf(0, 3),
      ...rowsOf(3, 1),
      ...rowsOf(4, 2),
      ...rowsOf(6, 4),
      ...rowsOf(10, 1),
    ]);
    expect(await names(folder())).to.deep.equal([
      'index.json',
      ...[0, 1, 2, 3].map((i) => `shard-0000${String(i)}.safetensors`),
    ]);
    const again = keep(await FeatureStore.open(folder(), 'f1'));
    expect(again.complete).to.equal(true);
    expect(again.tensors).to.deep.equal(SPEC.tensors);
    const into = new Float32Array(11 * 18);
    await again.read('maps', [...Array(11).keys()], into);
    expect(into).to.deep.equal(dataOf(0, 11)['maps']);
  });

  it('reads rows in any order, several times the same, and none', async () => {
    const store = await filled([4, 4, 4, 3]);
    const random = new Random(1);
    for (const count of [0, 1, 7, 40]) {
      const indexes = Int32Array.from({ length: count }, () => random.int(15));
      for (const [name, size] of [
        ['maps', 18],
        ['fc', 5],
      ] as const) {
        const all = dataOf(0, 15)[name] ?? new Float32Array(0);
        const into = new Float32Array(count * size + 3).subarray(3);
        await store.read(name, indexes, into);
        const wanted = [...indexes].flatMap((i) => [...all.subarray(i * size, (i + 1) * size)]);
        expect([...into]).to.deep.equal(wanted);
      }
    }
  });

  it('reads far and near rows of large shards, straight and scattered', async () => {
    const tensors = { big: [3000], small: [2] };
    const store = keep(await FeatureStore.create(folder(), { fingerprint: 'x', tensors }));
    const count = 600;
    const big = Float32Array.from({ length: count * 3000 }, (_, i) => i % 1e6);
    const small = Float32Array.from({ length: count * 2 }, (_, i) => i);
    await store.append(rowsOf(0, count), { big, small });
    await store.finish();
    const orders = [
      [...Array(count).keys()],
      [...Array(count).keys()].reverse(),
      [0, 2, 4, 5, 6, 100, 101, 599, 598, 2, 3],
    ];
    for (const order of orders) {
      const into = new Float32Array(order.length * 3000);
      await store.read('big', order, into);
      order.forEach((row, k) => {
        expect(into[k * 3000]).to.equal(big[row * 3000]);
        expect(into[k * 3000 + 2999]).to.equal(big[row * 3000 + 2999]);
      });
      const pairs = new Float32Array(order.length * 2);
      await store.read('small', order, pairs);
      expect([...pairs]).to.deep.equal(order.flatMap((row) => [row * 2, row * 2 + 1]));
    }
  });

  it('answers several reads at once', async () => {
    const store = await filled([4, 4, 4]);
    const reads = Array.from({ length: 12 }, async (_, i) => {
      const into = new Float32Array(5);
      await store.read('fc', [i], into);
      return into[4];
    });
    expect((await Promise.all(reads)).map((value) => -(value ?? 1))).to.deep.equal([
      ...Array(12).keys(),
    ]);
  });

  it('computes mean and mean square over all or some rows', async () => {
    const store = await filled([4, 4, 2]);
    for (const rows of [undefined, [7, 0, 3]]) {
      const used = rows ?? [...Array(10).keys()];
      const values = used.flatMap((row) => [...(dataOf(row, 1)['maps'] ?? [])]);
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      const square = values.reduce((a, b) => a + b * b, 0) / values.length;
      expect(await store.mean('maps', rows)).to.be.closeTo(mean, 1e-9 * mean);
      expect(await store.meanSquare('maps', rows)).to.be.closeTo(square, 1e-9 * square);
    }
    expect(await store.mean('fc', [0, 1, 2, 3])).to.equal(-1.5);
  });

  it('stores 16-bit floats at half the size, rounded, and refuses what they cannot hold', async () => {
    await filled([4, 4, 3]);
    const { size } = await stat(join(folder(), 'shard-00000.safetensors'));
    const store = await filled([8, 3], { fingerprint: 'f2', dtype: 'float16' });
    const { size: half } = await stat(join(folder(), 'shard-00000.safetensors'));
    expect(half).to.be.below(size + 100);
    const into = new Float32Array(2 * 18);
    await store.read('maps', [10, 0], into);
    expect([...into.subarray(0, 3)]).to.deep.equal([1000, 1001, 1002]);
    expect([...into.subarray(18, 21)]).to.deep.equal([0, 1, 2]);
    const other = keep(
      await FeatureStore.create(folder(), { ...SPEC, fingerprint: 'f3', dtype: 'float16' }),
    );
    const tooLarge = { ...dataOf(0, 1), fc: Float32Array.of(1, 2, 70000, 4, 5) };
    const error = await failureOf(other.append(rowsOf(0, 1), tooLarge));
    expect(error).to.have.property('code', 'E_STATE');
    expect(error.message).to.include('fc holds 70000').and.include('float32');
  });

  it('is reused by its fingerprint only, and cleared for another', async () => {
    await filled([4, 4, 4]);
    expect(await FeatureStore.open(folder(), 'other')).to.equal(undefined);
    expect(await FeatureStore.open(join(temporary(), 'none'), 'f1')).to.equal(undefined);
    await writeFile(join(folder(), 'hashes.json'), '{}');
    const store = keep(await FeatureStore.create(folder(), { ...SPEC, fingerprint: 'other' }));
    expect(store.count).to.equal(0);
    expect(await names(folder())).to.deep.equal(['hashes.json', 'index.json']);
  });

  it('goes on behind the last whole shard after a kill', async () => {
    const script = `
      import { FeatureStore } from ${JSON.stringify(moduleFile('lib/data/feature_store'))};
      const store = await FeatureStore.create(${JSON.stringify(folder())}, ${JSON.stringify(SPEC)});
      const row = (i) => ({ image: 'dog/' + i + '.jpg', mirrored: false, className: 'dog', width: 20, height: 10 });
      for (let i = 0; i < 10; i++) {
        await store.append([row(i)], {
          maps: Float32Array.from({ length: 18 }, (_, k) => 100 * i + k), fc: new Float32Array(5).fill(-i),
        });
      }
      process.kill(process.pid, 'SIGKILL');`;
    const file = join(temporary(), 'kill.mjs');
    await writeFile(file, script);
    expect(() => execFileSync(process.execPath, [...LOADER, file], { stdio: 'ignore' })).to.throw();
    expect((await names(folder())).filter((name) => name.endsWith('.tmp'))).to.have.length(1);
    expect(await FeatureStore.open(folder(), 'f1')).to.equal(undefined);
    const store = keep(await FeatureStore.create(folder(), SPEC));
    expect(store.rows.map(({ image }) => image)).to.deep.equal(
      [...Array(8).keys()].map((i) => `dog/${String(i)}.jpg`),
    );
    expect((await names(folder())).filter((name) => name.endsWith('.tmp'))).to.deep.equal([]);
    await fill(store, [2]);
    await store.finish();
    const into = new Float32Array(10 * 18);
    await store.read('maps', [...Array(10).keys()], into);
    expect(into).to.deep.equal(dataOf(0, 10)['maps']);
  });

  it('keeps what an unfinished store holds when it is closed', async () => {
    const store = await FeatureStore.create(folder(), SPEC);
    await fill(store, [4, 2]);
    await store.close();
    const next = keep(await FeatureStore.create(folder(), SPEC));
    expect(next.count).to.equal(6);
    await fill(next, [4, 1]);
    await next.finish();
    const into = new Float32Array(11 * 5);
    await next.read('fc', [...Array(11).keys()], into);
    expect(into).to.deep.equal(dataOf(0, 11)['fc']);
  });

  it('starts anew when the unfinished store is of other shape or type', async () => {
    const store = await FeatureStore.create(folder(), SPEC);
    await fill(store, [4]);
    await store.close();
    const next = keep(
      await FeatureStore.create(folder(), { ...SPEC, tensors: { maps: [2, 3, 3], fc: [6] } }),
    );
    expect(next.count).to.equal(0);
  });

  it('never parts images from their mirrored copies', async () => {
    const store = await FeatureStore.create(folder(), SPEC);
    const part = (
      first: number,
      count: number,
    ): { rows: FeatureRow[]; data: Record<string, Float32Array> } => ({
      rows: rowsOf(first, count),
      data: dataOf(first, count),
    });
    await store.appendTogether([part(0, 1), part(1, 1)]);
    await store.appendTogether([part(2, 2), part(4, 2)]); // does not fit behind the first two
    await store.appendTogether([part(6, 3), part(9, 3)]); // more than a shard may hold
    await store.finish();
    const again = keep(await FeatureStore.open(folder(), 'f1'));
    const index = JSON.parse(await readFile(join(folder(), 'index.json'), 'utf8')) as {
      shards: { rows: number }[];
    };
    expect(index.shards.map(({ rows }) => rows)).to.deep.equal([2, 4, 6]);
    const into = new Float32Array(12 * 18);
    await again.read('maps', [...Array(12).keys()], into);
    expect(into).to.deep.equal(dataOf(0, 12)['maps']);
    await store.close();
  });

  it('refuses wrong arguments and states', async () => {
    const store = keep(await FeatureStore.create(folder(), SPEC));
    expect(await failureOf(store.finish())).to.have.property('code', 'E_STATE');
    const short = { ...dataOf(0, 1), fc: new Float32Array(4) };
    expect(await failureOf(store.append(rowsOf(0, 1), short))).to.have.property('code', 'E_SHAPE');
    const nan = { ...dataOf(0, 1), fc: Float32Array.of(0, 0, NaN, 0, 0) };
    expect((await failureOf(store.append(rowsOf(0, 1), nan))).message).to.include('fc holds NaN');
    await fill(store, [5]);
    await store.finish();
    const read = (
      name: string,
      indexes: number[],
      length: number,
    ): Promise<Error & { code?: string }> =>
      failureOf(store.read(name, indexes, new Float32Array(length)));
    expect(await read('fc', [5], 5)).to.have.property('code', 'E_ARGUMENT');
    expect(await read('fc', [-1], 5)).to.have.property('code', 'E_ARGUMENT');
    expect(await read('fc', [0.5], 5)).to.have.property('code', 'E_ARGUMENT');
    expect((await read('no', [0], 5)).message).to.include('one of maps, fc');
    expect(await read('fc', [0], 6)).to.have.property('code', 'E_SHAPE');
    expect(await failureOf(store.append(rowsOf(5, 1), dataOf(5, 1)))).to.have.property(
      'code',
      'E_STATE',
    );
    const wrong = FeatureStore.create(folder(), { fingerprint: 'x', tensors: { a: [0] } });
    expect(await failureOf(wrong)).to.have.property('code', 'E_ARGUMENT');
  });

  describe('damage', () => {
    const shard = (): string => join(folder(), 'shard-00001.safetensors');
    const cases: [string, () => Promise<void>, RegExp][] = [
      [
        'a truncated shard',
        async () => truncate(shard(), (await stat(shard())).size - 1),
        /shard-00001.*truncated/,
      ],
      ['a missing shard', () => rm(shard()), /shard-00001.*ENOENT/],
      [
        'a foreign shard',
        async () => writeFile(shard(), await readFile(join(folder(), 'shard-00002.safetensors'))),
        /does not belong/,
      ],
      [
        'a damaged index',
        () => writeFile(join(folder(), 'index.json'), '{"format":1'),
        /index.json is damaged/,
      ],
    ];
    for (const [what, damage, message] of cases) {
      it(`${what}: E_FILE, and create starts anew`, async () => {
        await filled([4, 4, 2]);
        await damage();
        const error = await failureOf(FeatureStore.open(folder(), 'f1'));
        expect(error).to.have.property('code', 'E_FILE');
        expect(error.message).to.match(message);
        const store = keep(await FeatureStore.create(folder(), SPEC));
        expect(store.count).to.equal(0);
      });
    }

    it('an unfinished store forgets shards from the damaged one on', async () => {
      const store = await FeatureStore.create(folder(), SPEC);
      await fill(store, [4, 4, 4]);
      await store.close();
      await truncate(shard(), 50);
      const next = keep(await FeatureStore.create(folder(), SPEC));
      expect(next.count).to.equal(4);
      expect(await names(folder())).to.deep.equal(['index.json', 'shard-00000.safetensors']);
    });

    it('a shard cut while it is open: E_FILE', async () => {
      const store = await filled([4, 4, 2]);
      await store.read('fc', [5], new Float32Array(5));
      await truncate(shard(), 300);
      const error = await failureOf(store.read('maps', [7], new Float32Array(18)));
      expect(error).to.have.property('code', 'E_FILE');
      expect(error.message).to.include('truncated');
    });
  });

  it('leaves whole shards and nothing half-written when the disk is full', async () => {
    const undo = await smallDisk(temporary(), 256);
    try {
      const tensors = { a: [4096] }; // 16 KiB a row, 4 rows a shard
      const store = await FeatureStore.create(folder(), {
        fingerprint: 'full',
        tensors,
        shardBytes: 2 ** 16,
      });
      const add = async (): Promise<void> => {
        for (;;) await store.append(rowsOf(store.count, 1), { a: new Float32Array(4096).fill(1) });
      };
      const error = await failureOf(add());
      expect(error).to.have.property('code', 'E_FILE');
      expect(error.message).to.include('ENOSPC');
      expect(
        await failureOf(store.append(rowsOf(0, 1), { a: new Float32Array(4096) })),
      ).to.have.property('code', 'E_STATE');
      await store.close();
      const found = await names(folder());
      expect(found.filter((name) => name.endsWith('.tmp'))).to.deep.equal([]);
      const next = await FeatureStore.create(folder(), {
        fingerprint: 'full',
        tensors,
        shardBytes: 2 ** 16,
      });
      expect(next.count).to.be.greaterThan(3);
      expect(next.count % 4).to.equal(0);
      expect(found).to.have.length(1 + next.count / 4);
      await next.close();
    } finally {
      undo();
    }
  });
});
