import { expect } from 'chai';
import type { Performer } from '../../lib/performer/index.js';
import { measureContributions, type SwitchOff } from '../../lib/report/contributions.js';
import { filter } from './report_data.js';

const part = (name: string, purity: number) => ({ name, category: 'dog', purity });

const FILTERS = [
  filter(0, { part: part('legs', 0.9) }),
  filter(1, { part: part('head', 0.6) }),
  filter(2, { part: part('head', 0.4) }),
  filter(3, { dead: true }),
  filter(4, { part: part('legs', 0.5) }),
];

/** What each filter and the ordinary track give to the two classes of a made-up, additive head. */
const GIFTS = [
  [1, 0.5],
  [2, -1],
  [0.25, 0],
  [0, 0],
  [-0.5, 4],
];
const ORDINARY = [3, 2];
const BIAS = [0.125, 0.25];

/** A photograph is a pair of numbers that is added to the outputs. */
const switchOff: SwitchOff = (photograph, sets) => {
  const outputs = sets.flatMap(({ off = [], partsOff = false, ordinaryOff = false }) =>
    [0, 1].map((k) => {
      const parts = GIFTS.map((gift, f) => (partsOff || [...off].includes(f) ? 0 : (gift[k] ?? 0)));
      const sum = parts.reduce((a, b) => a + b, (BIAS[k] ?? 0) + (photograph.layer[k] ?? 0));
      return sum + (ordinaryOff ? 0 : (ORDINARY[k] ?? 0));
    }),
  );
  return Promise.resolve(Float32Array.from(outputs));
};

function performer(softmax: boolean): Performer {
  return { output: { size: 2, softmax }, classes: ['cat', 'dog'] } as unknown as Performer;
}

describe('report: what parts give to classes', () => {
  it('rows are tracks, clear parts, the rest, filters; columns the classes that the head says', async () => {
    const photographs = [Float32Array.of(9, 0), Float32Array.of(0, 9), Float32Array.of(8, 0)].map(
      (layer) => ({ layer, bypass: [] }),
    );
    const done: number[] = [];
    const found = await measureContributions(photographs, FILTERS, {
      performer: performer(false),
      switchOff,
      onProgress: (n) => done.push(n),
    });
    expect(found.unit).to.equal('logit');
    expect(found.classes).to.deep.equal([
      { name: 'cat', photographs: 2 },
      { name: 'dog', photographs: 1 },
    ]);
    expect(done).to.deep.equal([1, 2, 3]);
    const rows = found.rows.map(({ kind, name, filters, drops }) => [kind, name, filters, drops]);
    expect(rows).to.deep.equal([
      ['control', 'all part filters', [0, 1, 2, 4], [2.75, 3.5]],
      ['control', 'ordinary track', [], [3, 2]],
      ['part', 'head', [1], [2, -1]],
      ['part', 'legs', [0, 4], [0.5, 4.5]],
      ['part', 'no clear part', [2], [0.25, 0]],
      ['filter', 'filter 0', [0], [1, 0.5]],
      ['filter', 'filter 1', [1], [2, -1]],
      ['filter', 'filter 2', [2], [0.25, 0]],
      ['filter', 'filter 4', [4], [-0.5, 4]],
    ]);
  });

  it('probabilities count as their logarithms', async () => {
    const half: SwitchOff = (_, sets) =>
      Promise.resolve(
        Float32Array.from(
          sets.flatMap((_, i) => (i === 0 ? [0.8, 0.2] : i === 1 ? [0.2, 0.8] : [0.4, 0.6])),
        ),
      );
    const { unit, rows } = await measureContributions(
      [{ layer: new Float32Array(2), bypass: [] }],
      [filter(0)],
      {
        performer: performer(true),
        switchOff: half,
      },
    );
    expect(unit).to.equal('log probability');
    for (const { drops } of rows) expect(drops[0]).to.be.closeTo(Math.log(2), 1e-3);
    expect(rows.some(({ name }) => name === 'no clear part')).to.equal(false);
  });
});
