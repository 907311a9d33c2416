import { expect } from 'chai';
import type { ReportData } from '../../lib/report/data.js';
import {
  EVERYTHING,
  firstFilters,
  partNames,
  selectFilters,
  type Selection,
} from '../../lib/report/page/select.js';
import { filter, part } from './report_data.js';

const spots = (picture: number) => [{ picture, activation: 1, x: 0, y: 0, contour: '' }];

const data: Pick<ReportData, 'explainer' | 'performer' | 'classes' | 'pictures'> = {
  classes: ['cat', 'dog'],
  pictures: [
    { image: 'cat/tom.png', class: 0, webp: '' },
    { image: 'dog/rex.png', class: 1, webp: '' },
  ],
  explainer: [
    filter(0, { instability: 0.3, share: 0.9, spots: spots(0) }),
    filter(1, { instability: 0.1, category: 'dog', part: part('Head') }),
    filter(2, { instability: 0.2, classes: [{ class: 1, activation: 3 }], strength: 9 }),
    filter(3, { dead: true, classes: [] }),
    filter(4, {
      instability: 0.1,
      duplicateOf: 1,
      part: { ...part('Head')!, purity: 1 },
    }),
    filter(10, { spots: spots(1) }),
  ],
  performer: [filter(7)],
};

function chosen(change: Partial<Selection> = {}): number[] {
  const selection: Selection = { ...EVERYTHING, set: 'explainer', sort: 'stability', ...change };
  return selectFilters(data, selection).map((one) => one.filter);
}

describe('report: the first pictures', () => {
  it('are those of the most stable filter of each part', () => {
    const filters = [
      filter(0, { instability: 0.05, part: part('head') }),
      filter(1, { instability: 0.03, part: part('head') }),
      filter(2, { instability: 0.01, part: part('head'), duplicateOf: 1 }),
      filter(3, { instability: 0.02, part: part('legs') }),
      filter(4, { instability: 0.01, part: part('tail', 'near') }),
      filter(5, { instability: null, part: part('wing'), dead: true }),
    ];
    expect(firstFilters(filters).map((one) => one.filter)).to.deep.equal([3, 1]);
  });

  it('without names are those of the strongest filters that repeat no other', () => {
    const filters = [
      filter(0, { strength: 1 }),
      filter(1, { strength: 3 }),
      filter(2, { strength: 9, duplicateOf: 1 }),
      filter(3, { strength: 9, dead: true }),
      ...[4, 5, 6, 7, 8].map((n) => filter(n, { strength: 2 })),
    ];
    expect(firstFilters(filters).map((one) => one.filter)).to.deep.equal([1, 4, 5, 6, 7, 8]);
  });
});

describe('report: search', () => {
  it('sorts: stable first, unknown behind, dead last; equal ones by number', () => {
    expect(chosen()).to.deep.equal([1, 4, 2, 0, 10, 3]);
    expect(chosen({ sort: 'number' })).to.deep.equal([0, 1, 2, 3, 4, 10]);
    expect(chosen({ sort: 'strength' })[0]).to.equal(2);
    expect(chosen({ sort: 'share' })[0]).to.equal(0);
    expect(chosen({ sort: 'purity' }).slice(0, 2)).to.deep.equal([4, 1]);
  });

  it('finds numbers as a whole, and words in parts, categories, classes and files', () => {
    expect(chosen({ text: '1' })).to.deep.equal([1]);
    expect(chosen({ text: '#10' })).to.deep.equal([10]);
    expect(chosen({ text: 'head' })).to.deep.equal([1, 4]);
    expect(chosen({ text: 'HEAD dog' })).to.deep.equal([1]);
    expect(chosen({ text: 'rex' })).to.deep.equal([10]);
    expect(chosen({ text: 'dog' })).to.deep.equal([1, 2, 10]);
    expect(chosen({ text: 'unicorn' })).to.deep.equal([]);
  });

  it('limits to a part, a class, an instability, to those that are alive or no repetition', () => {
    expect(chosen({ part: 'Head' })).to.deep.equal([1, 4]);
    expect(chosen({ class: 1 })).to.deep.equal([2]);
    expect(chosen({ most: 0.2 })).to.deep.equal([1, 4, 2]);
    expect(chosen({ duplicates: false })).to.deep.equal([1, 2, 0, 10, 3]);
    expect(chosen({ dead: false })).to.deep.equal([1, 4, 2, 0, 10]);
    expect(chosen({ set: 'performer' })).to.deep.equal([7]);
  });

  it('lists the parts', () => {
    expect(partNames(data.explainer)).to.deep.equal(['Head']);
  });
});
