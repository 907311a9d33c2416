import { expect } from 'chai';
import type { MeasuredFilter } from '../../lib/evaluate/part_contributions.js';
import type { KnownPart } from '../../lib/explain/explanation.js';
import { nameOfRegion, placeInWords, regionsOf } from '../../lib/explain/regions.js';
import { regionInWords, sentenceOf } from '../../lib/explain/sentence.js';

/** A filter that peaks in column `cell` of a map of one row. */
const at = (filter: number, cell: number, removed: number): MeasuredFilter => {
  return { filter, cell, removed, alone: 0, activation: 1, strength: 1 };
};
const filtersOf = (parts: readonly MeasuredFilter[]): number[][] =>
  regionsOf(parts, 100).map((region) => region.map(({ filter }) => filter));

const named = (name: string, alone: number, bearing: 'inside' | 'near' = 'inside') => {
  const part: KnownPart = {
    ...{ name, category: 'dog', at: bearing, purity: 0.9, photographs: 20 },
    label: bearing === 'near' ? `near ${name}` : name,
  };
  return { part, alone };
};
const nameless = (alone: number) => ({ part: undefined, alone });

describe('explain: regions', () => {
  it('a chain of filters is no region: all are within one cell of the one that leads', () => {
    const chain = Array.from({ length: 9 }, (_, n) => at(n, n, 9 - n));
    expect(filtersOf(chain)).to.deep.equal([[0, 1], [2, 3], [4, 5], [6, 7], [8]]);
    const middle = [at(0, 4, 1), at(1, 5, 3), at(2, 6, 2), at(3, 8, 5)];
    expect(filtersOf(middle)).to.deep.equal([[3], [1, 2, 0]]);
    expect(regionsOf([], 7)).to.deep.equal([]);
  });

  it('rows are no neighbours of the end of the row before', () => {
    const parts = [at(0, 6, 2), at(1, 7, 1)];
    expect(regionsOf(parts, 7)).to.have.length(2);
    expect(regionsOf(parts, 8)).to.have.length(1);
  });

  it('bears the name of the filters that give at least half of it, or none', () => {
    expect(nameOfRegion([named('head', 3), nameless(2), nameless(1)])).to.equal('head');
    expect(nameOfRegion([named('head', 2), nameless(2.1)])).to.equal(undefined);
    expect(nameOfRegion([named('head', 2), named('head', 1.5, 'near'), nameless(1)])).to.equal(
      'near head',
    );
    expect(nameOfRegion([named('head', 1), named('legs', 1)]), 'two').to.equal(undefined);
    expect(nameOfRegion([named('head', -3), nameless(1)]), 'against the class').to.equal('head');
    expect(nameOfRegion([nameless(1)])).to.equal(undefined);
    expect(nameOfRegion([named('head', 0)]), 'gives nothing').to.equal(undefined);
  });

  it('says where it lies', () => {
    const frame = { width: 300, height: 150 };
    expect(placeInWords({ x: 0, y: 0 }, frame)).to.equal('upper left');
    expect(placeInWords({ x: 150, y: 75 }, frame)).to.equal('middle');
    expect(placeInWords({ x: 299, y: 75 }, frame)).to.equal('middle right');
    expect(placeInWords({ x: 150, y: 149.9 }, frame)).to.equal('lower middle');
  });
});

describe('explain: the sentence', () => {
  const score = (name: string) => ({ index: 0, name, probability: 0.5, score: 1 });
  const region = (name: string | undefined, rather: number) => ({
    ...{ filters: [12, 3, 4], name, where: 'upper left', value: 9, error: 0, removed: 0, rather },
  });
  const of = (values: readonly [string | undefined, number][], ordinary: number) => {
    const total = values.reduce((sum, [, value]) => sum + value, ordinary);
    return sentenceOf({
      explained: score('dog'),
      regions: values.map(([name, rather]) => region(name, rather)),
      tracks: { interpretable: 0, ordinary: 0 },
      contrast: { than: score('cat'), total, ordinary },
    });
  };

  it('names the region that gives most, of all that is given', () => {
    expect(
      of(
        [
          ['head', 2.1],
          ['legs', 0.8],
        ],
        0.1,
      ),
    ).to.equal('dog rather than cat mostly because of the region at the head: +2.1 of 3.0.');
    expect(
      of(
        [
          ['near head', 1.4],
          ['legs', 1.3],
        ],
        0.3,
      ),
    ).to.equal(
      'dog rather than cat first of all because of the region near the head: +1.4 of 3.0.',
    );
    expect(regionInWords(region(undefined, 1))).to.equal(
      'the region in the upper left (filter 12 and 2 more)',
    );
  });

  it('says what speaks against, where one region gives more than all together', () => {
    expect(
      of(
        [
          ['wing', 5.2],
          ['legs', -3],
        ],
        -0.1,
      ),
    ).to.equal(
      'dog rather than cat mostly because of the region at the wing: +5.2 of 2.1 (all else: \u22123.1).',
    );
  });

  it('tells when the ordinary track gives most, and when nothing speaks for the class', () => {
    expect(of([['head', 1]], 2)).to.include(
      'because of the ordinary track, which has no parts: +2.0',
    );
    expect(of([['head', 1]], -2)).to.equal(
      'Nothing in the rebuilt features speaks for dog rather than cat: all together give \u22121.0.',
    );
    const one = {
      contrast: undefined,
      explained: score('warm'),
      regions: [{ ...region('head', 0), rather: undefined }],
    };
    const alone = { ...one, tracks: { interpretable: 9, ordinary: 1 } };
    expect(sentenceOf(alone)).to.match(
      /^The score of warm is what it is mostly because .*\+9.0 of 10.0\.$/,
    );
  });
});
