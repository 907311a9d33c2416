import { expect } from 'chai';
import type { PartName } from '../../lib/evaluate/part_naming.js';
import type { FilterScores } from '../../lib/evaluate/filter_scores.js';
import { filterFacts } from '../../lib/report/filters.js';
import { Gallery } from '../../lib/report/gallery.js';

const grid = { rows: 1, columns: 1, stride: [1, 1], first: [0, 0] } as const;
const name = (category: string, part: string, at: PartName['at'] = 'inside'): PartName => {
  return { category, part, at, purity: 0.9, photographs: 20 };
};

/** The label of one filter that is shown on photographs of these classes. */
function labelOf(shown: readonly ('cat' | 'dog')[], names: PartName[]): string | undefined {
  const gallery = new Gallery(shown.length, { filters: 1, cells: 1 });
  gallery.add(
    Float32Array.from(shown, (_, n) => 9 - n),
    0,
    shown.length,
  );
  const scores = {
    ...{ category: Int32Array.of(0), perFilter: Float64Array.of(0.1) },
    parts: { duplicateOf: Int32Array.of(-1) },
  } as unknown as FilterScores;
  const annotations = {
    ...{ size: [10, 10] as const, categories: ['cat', 'dog'], category: new Int32Array(0) },
    ...{ parts: ['head', 'legs'], y: new Float64Array(0), x: new Float64Array(0) },
  };
  const [facts] = filterFacts({
    ...{ gallery, grid, size: [10, 10], shown: 8, pictureOf: (image) => image },
    classOf: Int32Array.from(shown, (of) => (of === 'cat' ? 0 : 1)),
    classes: ['cat', 'dog'],
    scored: { scores, names: [names], annotations },
  });
  return facts?.part?.label;
}

describe('report: names on cards', () => {
  it('are those of the photographs that are shown', () => {
    const both = [name('cat', 'head'), name('dog', 'legs')];
    expect(labelOf(['cat', 'cat'], both)).to.equal('head');
    expect(labelOf(['dog', 'dog'], both), 'scored on cats').to.equal('legs');
    expect(labelOf(['dog', 'dog', 'cat'], both)).to.equal('legs of dog');
    expect(labelOf(['dog', 'dog', 'cat'], [name('cat', 'head')])).to.equal(undefined);
    expect(labelOf(['dog', 'cat'], [name('cat', 'head'), name('dog', 'head')])).to.equal('head');
    expect(labelOf(['cat'], [name('cat', 'head', 'near')])).to.equal('near head');
    expect(labelOf(['cat', 'dog'], [name('cat', 'head')])).to.equal('head of cat');
    expect(labelOf(['cat'], [])).to.equal(undefined);
  });
});
