import { expect } from 'chai';
import { Graph } from '../../lib/engine/graph.js';
import { dropout, flatten } from '../../lib/engine/ops/index.js';
import { checkOp } from '../support/check_op.js';
import { constant, integers } from '../support/draw.js';
import { runGraph } from '../support/engine.js';
import type { Grid } from '../support/grid.js';

const BITS = 64;
const GOLDEN = 0x9e3779b97f4a7c15n;

/** 64-bit finaliser of splitmix64. */
function mix(word: bigint): bigint {
  let z = BigInt.asUintN(BITS, word);
  z = BigInt.asUintN(BITS, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(BITS, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}

/** Keeps element i where hash(seed, salt, i) / 2^64 >= rate. */
function keeps(seed: Grid, salt: number, rate: number): (index: number) => boolean {
  const [high, low] = [...seed.data].map((word) => BigInt.asUintN(32, BigInt(word)));
  const key = mix((((high ?? 0n) << 32n) | (low ?? 0n)) + GOLDEN * BigInt(salt));
  const threshold = BigInt(Math.fround(rate) * 2 ** BITS);
  return (index) => mix(key ^ (BigInt(index) * GOLDEN)) >= threshold;
}

describe('ops: dropout', () => {
  checkOp<'x' | 'seed', { rate: number; salt: number }>(
    {
      name: 'dropout',
      inputs: { x: {}, seed: { dtype: 'i32', draw: integers(2 ** 31) } },
      wrt: ['x'],
      build: ({ x, seed }, attrs) => ({ y: dropout(x, seed, attrs) }),
      wrong: [
        { shapes: { seed: [3] }, text: /\[dropout\] Expected seed of shape \(2\)/ },
        { shapes: {}, attrs: { rate: 1, salt: 0 }, text: /0 <= rate < 1/, code: 'E_ARGUMENT' },
        { shapes: {}, attrs: { rate: -0.1, salt: 0 }, text: /0 <= rate < 1/, code: 'E_ARGUMENT' },
      ],
    },
    ({ x, seed }, { rate, salt }, f) => {
      const keep = keeps(seed, salt, rate);
      const gain = f(1 / f(1 - Math.fround(rate)));
      return { y: x.map((value, i) => (keep(i) ? f(gain * value) : 0)) };
    },
    [
      { shapes: { x: [2, 5, 3, 4], seed: [2] }, attrs: { rate: 0.5, salt: 0 } },
      { shapes: { x: [3, 17], seed: [2] }, attrs: { rate: 0.3, salt: 7 } },
      { shapes: { x: [3, 17], seed: [2] }, attrs: { rate: 0, salt: -1 } },
      {
        shapes: { x: [2, 60], seed: [2] },
        chw: { x: [5, 3, 4] },
        attrs: { rate: 0.5, salt: 0 },
        draw: { seed: constant(-3) },
      },
      { shapes: { x: [4, 20, 9, 9], seed: [2] }, attrs: { rate: 0.8, salt: 2 }, large: true },
    ],
  );

  it('keeps the stated share, others for another salt, the same for maps and their rows', async () => {
    const graph = new Graph();
    const shape = [8, 25, 10, 10];
    const x = graph.input('x', shape);
    const seed = graph.input('seed', [2], { dtype: 'i32' });
    graph.output('maps', dropout(x, seed, { rate: 0.4 }));
    graph.output('rows', dropout(flatten(x), seed, { rate: 0.4 }));
    graph.output('other', dropout(x, seed, { rate: 0.4, salt: 1 }));
    const got = await runGraph(graph, {
      x: new Float32Array(20000).fill(1),
      seed: Int32Array.of(1, 2),
    });
    const kept = [...(got.maps ?? [])].map((value) => value !== 0);
    const share = kept.filter(Boolean).length / kept.length;
    expect(share).to.be.closeTo(0.6, 4 * Math.sqrt((0.4 * 0.6) / 20000));
    expect(got.rows).to.deep.equal(got.maps);
    const agree = [...(got.other ?? [])].filter((value, i) => (value !== 0) === kept[i]).length;
    expect(agree / kept.length).to.be.closeTo(0.6 * 0.6 + 0.4 * 0.4, 0.02);
  });
});
