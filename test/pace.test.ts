import { expect } from 'chai';
import { initialWeights } from '../lib/explainer/initial.js';
import { LeastSquares } from '../lib/explainer/least_squares.js';
import { notFinite } from '../lib/data/sound.js';
import { inPieces } from '../lib/pace.js';
import { Random } from '../lib/random.js';

const cpu = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/**
 * CPU milliseconds of some work, and of its longest turn of the event loop. CPU time, since a loaded
 * machine stretches every clock on the wall.
 */
async function turns(work: () => Promise<unknown>): Promise<{ all: number; longest: number }> {
  const start = cpu();
  let [last, longest, over] = [start, 0, false];
  const tick = (): void => {
    const now = cpu();
    longest = Math.max(longest, now - last);
    last = now;
    if (!over) setImmediate(tick);
  };
  setImmediate(tick);
  await work();
  tick();
  over = true;
  return { all: cpu() - start, longest };
}

/**
 * What is large takes many turns: none has more than half of the work. Once in three tries, since the garbage
 * collector's time counts as some turn's.
 */
async function expectPaced(work: () => Promise<unknown>): Promise<void> {
  const tries: string[] = [];
  while (tries.length < 3) {
    const { all, longest } = await turns(work);
    if (longest < Math.max(all / 2, 60)) return;
    tries.push(`${longest.toFixed(0)} of ${all.toFixed(0)} ms in one turn`);
  }
  expect.fail(tries.join(', '));
}

describe('the event loop is free while', () => {
  const shape = [600, 10000];
  const type = { shape, dtype: 'f32', layout: 'linear_weight', chw: undefined } as const;

  it('initial weights are drawn: the bits of one uninterrupted row of numbers', async () => {
    let weights = new Float32Array();
    await expectPaced(async () => {
      const made = await initialWeights(new Map([['a.weight', type]]), { seed: 3 });
      weights = new Float32Array(made['a.weight'] ?? []);
    });
    const random = new Random(3, 'initial/a.weight');
    const deviation = Math.sqrt(2 / 10000);
    const wanted = Float32Array.from({ length: 200000 }, () => deviation * random.normal());
    expect(Buffer.from(wanted.buffer).equals(Buffer.from(weights.buffer, 0, 800000))).to.equal(
      true,
    );
  });

  it('a checkpoint is checked', async () => {
    const values = new Float32Array(4e7);
    await expectPaced(() => notFinite(values));
    expect(await notFinite(values)).to.equal(undefined);
    values[values.length - 1] = NaN;
    expect(await notFinite(values)).to.equal('NaN');
    expect(await notFinite(Float32Array.of(0, -Infinity))).to.equal('-Infinity');
    expect(await notFinite(new Float32Array())).to.equal(undefined);
  });

  it('least squares are summed and solved', async () => {
    const [D, S] = [400, 300];
    const random = new Random(1, 'test');
    const draw = (length: number): Float32Array =>
      Float32Array.from({ length }, () => random.normal());
    const [x, y] = [draw(D * 600), draw(S * 600)];
    const fit = new LeastSquares(D, S, { seed: 1, most: 600 });
    await expectPaced(() => fit.add(x, y, { images: 1, batches: 1 }));
    await expectPaced(() => fit.solve());
  });

  it('pieces cover everything once, in order', async () => {
    for (const count of [0, 1, 65535, 65536, 65537, 200000]) {
      const ends = [0];
      await inPieces(count, (from, to) => {
        expect(from).to.equal(ends.at(-1));
        ends.push(to);
      });
      expect(ends.at(-1)).to.equal(count);
    }
  });
});
