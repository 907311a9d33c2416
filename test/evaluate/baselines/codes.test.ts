import { expect } from 'chai';
import { EngineCode } from '../../../lib/evaluate/baselines/engine_code.js';
import type { FittedCode } from '../../../lib/evaluate/baselines/fitted.js';
import { fitKmeans, ridge } from '../../../lib/evaluate/baselines/kmeans.js';
import { fitNmf } from '../../../lib/evaluate/baselines/nmf.js';
import {
  fitSparseAutoencoder,
  keepLargest,
} from '../../../lib/evaluate/baselines/sparse_autoencoder.js';
import { Random } from '../../../lib/random.js';

const C = 8;
const DEVICE = { backend: 'cpu', threads: 1 } as const;

/** Maps and what is rebuilt of vectors, each an image of one cell. */
async function through(
  fitted: FittedCode,
  x: Float32Array,
): Promise<{ maps: Float32Array; rebuilt: Float32Array }> {
  const sizes = { channels: C, height: 1, width: 1, positive: true };
  const code = await EngineCode.open(fitted, sizes, DEVICE);
  const count = x.length / C;
  const both = { maps: await code.maps(x, count), rebuilt: await code.rebuild(x, count) };
  code.dispose();
  return both;
}

function relative(h: Float32Array, x: Float32Array): number {
  const square = (values: Float32Array): number => values.reduce((sum, v) => sum + v * v, 0);
  return Math.sqrt(square(x.map((v, i) => v - (h[i] ?? 0))) / square(x));
}

/** Strong vectors along 3 axes, with a little noise; the axis of each is its number mod 3. */
function clusters(count: number): Float32Array {
  const random = new Random(1, 'clusters');
  return Float32Array.from({ length: count * C }, (_, i) => {
    const on = i % C === 2 * (Math.floor(i / C) % 3);
    return on ? random.uniform(1, 3) : random.uniform(0, 0.05);
  });
}

/** Non-negative combinations of 3 directions, most of them without one. */
function combinations(count: number): Float32Array {
  const random = new Random(2, 'combinations');
  const H = Float64Array.from({ length: 3 * C }, (_, i) => {
    return i % 3 === Math.floor(i / C) ? 1 + random.uniform() : 0.2 * random.uniform();
  });
  const rows = Array.from({ length: count }, () => {
    const a = [0, 1, 2].map(() => Math.max(0, random.uniform(-1, 1)));
    return Array.from({ length: C }, (_, c) =>
      a.reduce((s, v, d) => s + v * (H[d * C + c] ?? 0), 0),
    );
  });
  return Float32Array.from(rows.flat());
}

describe('baselines: k-means, NMF, sparse autoencoder', () => {
  it('k-means finds clusters that lie apart', async () => {
    const x = clusters(300);
    const options = { channels: C, filters: 6, seed: 1, device: DEVICE };
    const [projection, cosine] = await fitKmeans(x, options);
    const w = projection!.frozen['w']!.data;
    for (const axis of [0, 2, 4]) {
      const best = Math.max(...[0, 1, 2, 3, 4, 5].map((d) => w[d * C + axis] ?? 0));
      expect(best, `axis ${String(axis)}`).to.be.above(0.99);
    }
    const [dots, above] = [await through(projection!, x), await through(cosine!, x)];
    dots.maps.forEach((dot, i) => {
      const n = Math.floor(i / 6);
      const norm = Math.hypot(...x.subarray(n * C, (n + 1) * C));
      expect(above.maps[i]).to.be.closeTo(Math.max(0, dot - norm / 2), 1e-5);
    });
    expect(relative(above.rebuilt, x)).to.be.below(0.1);
  });

  it('the decoder of k-means is ridge regression in float64', async () => {
    const random = new Random(4, 'ridge');
    const one = Array.from({ length: 3 }, () => random.normal());
    const code = Float32Array.from({ length: 120 }, (_, i) => one[i % 3] ?? 0);
    const x = Float32Array.from({ length: 40 * C }, (_, i) => i % C);
    // All rows alike: whatever is drawn, X^T X = 40 v v^T with v = (code, 1), of trace 40 |v|^2.
    const { weights, bias } = await ridge(code, x, { channels: C, filters: 3, seed: 1 });
    const v = [...one.map(Math.fround), 1];
    const square = v.reduce((sum, value) => sum + value * value, 0);
    const shrunk = 1 / (square + (1e-4 * square) / 4);
    for (let c = 0; c < C; c++) {
      expect(bias[c]).to.be.closeTo(c * shrunk, 1e-6);
      [0, 1, 2].forEach((d) => expect(weights[c * 3 + d]).to.be.closeTo(c * shrunk * v[d]!, 1e-6));
    }
  });

  it('NMF rebuilds non-negative combinations, and is never below 0', async () => {
    const x = combinations(400);
    const options = { channels: C, seed: 1, device: DEVICE };
    const [three, one] = [
      await through(await fitNmf(x, { ...options, filters: 3 }), x),
      await through(await fitNmf(x, { ...options, filters: 1 }), x),
    ];
    expect(Math.min(...three.maps)).to.be.at.least(0);
    expect(relative(three.rebuilt, x)).to.be.below(0.05);
    expect(relative(one.rebuilt, x)).to.be.above(0.3);
  });

  it('keeps exactly k values of each cell, of equals the first', async () => {
    const [count, filters, cells, kept] = [2, 7, 3, 4];
    const random = new Random(5, 'top');
    const values = Float32Array.from({ length: count * filters * cells }, () => random.int(4) + 1);
    const maps = values.slice();
    await keepLargest(maps, { count, filters, kept });
    for (let n = 0; n < count; n++) {
      for (let cell = 0; cell < cells; cell++) {
        const at = (d: number): number => (n * filters + d) * cells + cell;
        const order = [0, 1, 2, 3, 4, 5, 6].sort(
          (a, b) => values[at(b)]! - values[at(a)]! || a - b,
        );
        order.forEach((d, place) => expect(maps[at(d)]).to.equal(place < kept ? values[at(d)] : 0));
      }
    }
  });

  it('the sparse autoencoder rebuilds more than the mean, the same for the same seed', async () => {
    const x = clusters(500);
    const options = { channels: C, filters: 16, seed: 1, device: DEVICE };
    const fitted = await fitSparseAutoencoder(x, options);
    const { maps, rebuilt } = await through(fitted, x);
    for (let n = 0; n < 500; n++) {
      expect([...maps.subarray(n * 16, n * 16 + 16)].filter((a) => a > 0).length).to.be.at.most(12);
    }
    expect(relative(rebuilt, x)).to.be.below(0.1);
    const again = await fitSparseAutoencoder(x, options);
    expect(again.decoder).to.deep.equal(fitted.decoder);
  });

  it('stops where the signal does', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    const options = { channels: C, filters: 4, seed: 1, device: DEVICE, signal };
    for (const fit of [fitNmf, fitSparseAutoencoder]) {
      const error = await fit(clusters(50), options).catch((reason: unknown) => reason);
      expect(error).to.have.property('message', 'enough');
    }
  });
});
