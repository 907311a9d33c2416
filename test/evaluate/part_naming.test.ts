import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Annotations } from '../../lib/data/landmarks.js';
import type { InstabilityInput } from '../../lib/evaluate/metrics/index.js';
import { readPartNames } from '../../lib/evaluate/part_names.js';
import { labelOfName, namesOfFilters } from '../../lib/evaluate/part_naming.js';

/** A grid of 10 x 10 cells of 10 pixels; cell (row, column) has its centre at (10 row, 10 column). */
const grid = { rows: 10, columns: 10, stride: [10, 10], first: [0, 0] } as const;
const PARTS = ['head', 'legs'];

/** One photograph: where its parts are (pixels, [y, x]), and in which cell the one filter peaks. */
interface Photograph {
  category?: number;
  head?: readonly [number, number];
  legs?: readonly [number, number];
  cell: readonly [row: number, column: number];
  value?: number;
}

function input(photographs: readonly Photograph[]): InstabilityInput {
  const axis = (i: 0 | 1): Float64Array =>
    Float64Array.from(
      photographs.flatMap(({ head, legs }) => [head?.[i] ?? NaN, legs?.[i] ?? NaN]),
    );
  const annotations: Annotations = {
    size: [100, 100],
    ...{ categories: ['cat', 'dog'], parts: PARTS, y: axis(0), x: axis(1) },
    category: Int32Array.from(photographs, ({ category = 0 }) => category),
  };
  const peaks = {
    ...{ images: photographs.length, filters: 1 },
    value: Float32Array.from(photographs, ({ value = 1 }) => value),
    cell: Int32Array.from(photographs, ({ cell: [row, column] }) => 10 * row + column),
  };
  return { annotations, peaks, grid };
}

const times = <T>(n: number, make: (i: number) => T): T[] =>
  Array.from({ length: n }, (_, i) => make(i));
/** Head at (20, 20), legs at (60, 20): 40 apart, so that each reaches 14.1 = 0.1 of the diagonal at most. */
const places = { head: [20, 20], legs: [60, 20] } as const;
const at = (row: number, column: number, more: Partial<Photograph> = {}): Photograph => {
  return { ...places, cell: [row, column], ...more };
};

async function nameOf(photographs: readonly Photograph[]): Promise<string[]> {
  const [names = []] = await namesOfFilters(input(photographs));
  return names.map((name) => `${name.category}: ${labelOfName(name)}`);
}

describe('evaluate: names of parts', () => {
  it('a peak inside the part names it; one nearer to it than to others is near it; else none', async () => {
    expect(await nameOf(times(20, () => at(2, 2)))).to.deep.equal(['cat: head']);
    expect(await nameOf(times(20, () => at(2, 3))), '10 <= 14.1 away').to.deep.equal(['cat: head']);
    expect(await nameOf(times(20, () => at(2, 4))), '20 away').to.deep.equal(['cat: near head']);
    expect(await nameOf(times(20, () => at(2, 5))), '30 > 0.15 of the diagonal').to.deep.equal([]);
  });

  it('the extent is that of the photograph: half the way to the next landmark', async () => {
    // 16 apart: each reaches 8, half of a cell's diagonal is 7.07
    const close = { head: [20, 20], legs: [20, 36] } as const;
    const near = times(20, () => ({ ...close, cell: [3, 2] as const }));
    expect(await nameOf(near), '10 away').to.deep.equal(['cat: near head']);
    const alone = times(20, () => ({ head: [20, 20] as const, cell: [3, 2] as const }));
    expect(await nameOf(alone), 'alone: 0.05 of the diagonal').to.deep.equal(['cat: near head']);
    const mixed = times(60, (i) => (i < 40 ? at(2, 2) : { ...alone[0]!, cell: [2, 3] as const }));
    expect(await nameOf(mixed), 'alone, but usually 20 wide').to.deep.equal(['cat: head']);
  });

  it('needs ten photographs that had no say, and 0.7 of them', async () => {
    expect(await nameOf(times(19, () => at(2, 2))), 'nine check').to.deep.equal([]);
    // photographs 1, 3, 5, ... check: of ten, so many elsewhere
    const wrong = (n: number): Photograph[] =>
      times(20, (i) => at(i % 2 === 1 && i < 2 * n ? 6 : 2, 2));
    expect(await nameOf(wrong(3))).to.deep.equal(['cat: head']);
    expect(await nameOf(wrong(4))).to.deep.equal([]);
    const silent = times(20, (i) => at(2, 2, { value: i === 1 ? 0 : 1 }));
    expect(await nameOf(silent), 'silent in one of ten').to.deep.equal([]);
    const [[name] = []] = await namesOfFilters(input(wrong(3)));
    expect(name).to.include({ purity: 0.7, photographs: 10, at: 'inside' });
  });

  it('the half that names decides which part it is: one that others have is no name', async () => {
    const split = times(40, (i) => at(i % 2 === 0 ? 2 : 6, 2));
    expect(await nameOf(split)).to.deep.equal([]);
  });

  it('each category has its own name, or none', async () => {
    const both = times(60, (i) =>
      i < 20 ? at(2, 2) : i < 40 ? at(6, 2, { category: 1 }) : at(6, 2, { category: 1, value: 0 }),
    );
    expect(await nameOf(both)).to.deep.equal(['cat: head', 'dog: legs']);
    const few = times(30, (i) => (i < 20 ? at(2, 2) : at(6, 2, { category: 1 })));
    expect(await nameOf(few)).to.deep.equal(['cat: head']);
  });

  it('files of the first form are read: names that were never checked are near', async () => {
    const run = await mkdtemp(join(tmpdir(), 'partlens-names-'));
    const facts = { category: 'cat', instability: 0.1, firing: 1, duplicateOf: null };
    const owner = { fingerprint: 'f', step: 3 };
    const old = {
      ...{ format: 1, ...owner, landmarks: '/x.csv', images: 9 },
      filters: [
        { ...facts, part: 'head', purity: 0.9 },
        { ...facts, part: 'legs', purity: 0.6 },
        null,
      ],
    };
    await writeFile(join(run, 'parts.json'), JSON.stringify(old));
    const told: string[] = [];
    const known = await readPartNames(run, owner, (text) => told.push(text));
    expect(known?.filters.map((of) => of?.names.map(labelOfName))).to.deep.equal([
      ['near head'],
      [],
      undefined,
    ]);
    expect(told.join()).to.match(/earlier version: run evaluate --landmarks again/);
  });
});
