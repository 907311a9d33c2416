import { expect } from 'chai';
import type { ReportData } from '../../lib/report/data.js';
import {
  EVERYTHING,
  partNames,
  selectFilters,
  type Selection,
} from '../../lib/report/page/select.js';
import { filter } from './report_data.js';

const spots = (picture: number) => [{ picture, activation: 1, x: 0, y: 0, contour: '' }];

const data: Pick<ReportData, 'explainer' | 'performer' | 'classes' | 'pictures'> = {
  classes: ['cat', 'dog'],
  pictures: [
    { image: 'cat/tom.png', class: 0, webp: '' },
    { image: 'dog/rex.png', class: 1, webp: '' },
  ],
  explainer: [
    filter(0, { instability: 0.3, share: 0.9, spots: spots(0) }),
    filter(1, { instability: 0.1, part: { name: 'Head', category: 'dog', purity: 0.9 } }),
    filter(2, { instability: 0.2, classes: [{ class: 1, activation: 3 }], strength: 9 }),
    filter(3, { dead: true, classes: [] }),
    filter(4, {
      instability: 0.1,
      duplicateOf: 1,
      part: { name: 'Head', category: '', purity: 1 },
    }),
    filter(10, { spots: spots(1) }),
  ],
  performer: [filter(7)],
};

function chosen(change: Partial<Selection> = {}): number[] {
  const selection: Selection = { ...EVERYTHING, set: 'explainer', sort: 'stability', ...change };
  return selectFilters(data, selection).map((one) => one.filter);
}

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
