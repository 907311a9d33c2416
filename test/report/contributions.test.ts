import { expect } from 'chai';
import type { Performer } from '../../lib/performer/index.js';
import { measureContributions, type SwitchOff } from '../../lib/report/contributions.js';
import { mostGiven, notCarried } from '../../lib/report/page/format.js';
import { filter, part } from './report_data.js';

const FILTERS = [
  filter(0, { part: part('legs') }),
  filter(1, { part: part('head') }),
  filter(2, { part: part('head', 'near') }),
  filter(3, { dead: true }),
  filter(4, { part: part('legs') }),
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
      { name: 'cat', photographs: 2, carried: 1 },
      { name: 'dog', photographs: 1, carried: 1 },
    ]);
    for (const { spread } of found.rows) expect(spread).to.deep.equal([0, null]);
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
    const { unit, rows, classes } = await measureContributions(
      [{ layer: new Float32Array(2), bypass: [] }],
      [filter(0)],
      {
        performer: performer(true),
        switchOff: half,
      },
    );
    expect(unit).to.equal('log probability');
    expect(classes[0]?.carried, 'parts alone say the other class').to.equal(0);
    for (const { drops } of rows) expect(drops[0]).to.be.closeTo(Math.log(2), 1e-3);
    expect(rows.some(({ name }) => name === 'no clear part')).to.equal(false);
  });

  it('the spread is the deviation between the photographs of a class', async () => {
    const changing: SwitchOff = ({ layer }, sets) =>
      Promise.resolve(
        Float32Array.from(sets.flatMap((_, i) => (i === 0 ? [10 + (layer[0] ?? 0), 0] : [10, 0]))),
      );
    const photographs = [1, 2, 6].map((n) => ({ layer: Float32Array.of(n), bypass: [] }));
    const { rows } = await measureContributions(photographs, [filter(0)], {
      performer: performer(false),
      switchOff: changing,
    });
    expect(rows[0]?.drops).to.deep.equal([3]);
    expect(rows[0]?.spread[0]).to.be.closeTo(Math.sqrt(7), 1e-3);
  });

  it('says what gives most only with ten photographs, beyond the spread and the next class', () => {
    const of = (photographs: number[], drops: number[], spread: number[], carried = 1) =>
      mostGiven(
        {
          ...{ unit: 'logit', rows: [] },
          classes: photographs.map((n, k) => {
            return { name: ['cat', 'dog'][k]!, photographs: n, carried };
          }),
        },
        { drops, spread },
      );
    expect(of([10, 10], [3, 1], [1, 1])).to.equal('cat +3.00 (10 photographs)');
    expect(of([9, 10], [3, 1], [1, 0.5]), 'too few: not looked at').to.match(/^dog \+1\.00/);
    expect(of([9, 9], [3, 1], [1, 1])).to.equal(undefined);
    expect(of([10, 10], [3, 1], [3.1, 1]), 'within its spread').to.equal(undefined);
    expect(of([10, 10], [3, 2.9], [1, 1]), 'as much to the next class').to.equal(undefined);
    expect(of([10, 10], [-1, -2], [0.1, 0.1]), 'nothing is given').to.equal(undefined);
    expect(of([10, 10], [3, 1], [1, 1], 0.4), 'parts do not carry it').to.equal(undefined);
  });

  it('names the classes that all parts together do not carry, with counts', () => {
    const classes = [
      { name: 'cat', photographs: 12, carried: 0.25 },
      { name: 'dog', photographs: 12, carried: 0.5 },
    ];
    const found = { unit: 'logit', rows: [], classes };
    expect(notCarried(found)).to.include('do not carry cat (3 of 12 photographs keep it):');
    expect(notCarried({ ...found, classes: classes.slice(1) })).to.equal(undefined);
  });
});
