import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { writeJsonAtomic } from '../../lib/data/atomic.js';
import type { Explanation } from '../../lib/index.js';
import { Explainer } from '../../lib/explainer.js';
import { gridOf } from '../../lib/evaluate/filter_scores.js';
import { readPartNames } from '../../lib/evaluate/part_names.js';
import { namesOfFilters } from '../../lib/evaluate/part_naming.js';
import { partMetrics } from '../../lib/evaluate/metrics/index.js';
import type { Performer } from '../../lib/performer/index.js';
import { temporaryFolder } from '../data/temporary.js';
import { C, CLASSES, tinyPerformer, withExplainer, writeTiny } from '../explainer/tiny.js';

describe('explain: names of parts, and classes beside each other', () => {
  const folder = temporaryFolder();
  let performer: Performer;
  let run: string;
  let photo: string;
  let landmarks: string;

  beforeEach(async () => {
    const tiny = await writeTiny(folder());
    performer = await tinyPerformer(tiny.model);
    run = join(folder(), 'run');
    photo = join(tiny.images, 'dark', '003.png');
    ({ landmarks } = tiny);
    const decoder = 'learned' as const;
    const options = { performer, images: tiny.images, out: run, filters: C, decoder };
    await withExplainer(options, () => undefined);
  });
  afterEach(() => performer.dispose());

  async function use<T>(body: (explainer: Explainer) => Promise<T>): Promise<T> {
    const explainer = await Explainer.load(run, { performer, backend: 'cpu', threads: 1 });
    try {
      return await body(explainer);
    } finally {
      explainer.dispose();
    }
  }

  /** Writes names of the filters of this checkpoint. */
  async function writeNames(explainer: Explainer, category: string): Promise<void> {
    const { fingerprint } = explainer.config;
    const facts = { category, instability: 0.1, firing: 1, duplicateOf: null };
    const name = { category, part: 'blob', at: 'inside', purity: 0.9, photographs: 12 };
    await writeJsonAtomic(join(run, 'parts.json'), {
      ...{ format: 2, fingerprint, step: explainer.step, landmarks, images: 24 },
      filters: Array.from({ length: C }, () => ({ ...facts, names: [name] })),
    });
  }

  it('names hold in their own category alone: that of the folder, or as it is told', async () => {
    await use(async (explainer) => {
      const before = await explainer.explain(photo);
      expect(before.warnings.join()).not.to.include('parts.json');
      expect(before.parts.every(({ part }) => part === undefined)).to.equal(true);
      await writeNames(explainer, 'dark');
      const own = await explainer.explain(photo);
      expect(own.category).to.equal('dark');
      expect(own.parts.every(({ part }) => part?.label === 'blob')).to.equal(true);
      expect(own.regions[0]?.name).to.equal('blob');
      const other = await explainer.explain(photo, { category: 'bright' });
      expect(other.category).to.equal(undefined);
      expect(other.parts.every(({ part }) => part === undefined)).to.equal(true);
      const elsewhere = join(folder(), 'elsewhere.png');
      await writeFile(elsewhere, await readFile(photo));
      const { name, index } = own.prediction;
      for (const [category, label] of [
        [name, 'blob'],
        [CLASSES[1 - index]!, undefined],
        ['', 'blob'],
      ] as const) {
        await writeNames(explainer, category);
        const found = await explainer.explain(elsewhere);
        expect(found.parts[0]?.part?.label, `of ${category}`).to.equal(label);
      }
    });
  });

  it('names of another checkpoint, or of a damaged file, are none, and it says so', async () => {
    await use(async (explainer) => {
      await writeNames(explainer, 'dark');
      const path = join(run, 'parts.json');
      const text = await readFile(path, 'utf8');
      for (const [wrong, message] of [
        [text.replace(/"step": \d+/, '"step": 1'), /another checkpoint/],
        [text.replace('"format": 2', '"format": 3'), /is damaged/],
        ['{', /cannot be read/],
      ] as const) {
        await writeFile(path, wrong);
        const found = await explainer.explain(photo);
        expect(found.warnings.join()).to.match(message);
        expect(found.parts.every(({ part }) => part === undefined)).to.equal(true);
      }
    });
  });

  it('parts.json holds what the metrics say of each filter', async () => {
    await use(async (explainer) => {
      const { instability } = await explainer.evaluate({ landmarks });
      const { layer2, annotations } = instability!;
      const grid = gridOf(performer);
      const { duplicateOf } = partMetrics({ peaks: layer2.peaks, annotations, grid });
      const names = await namesOfFilters({ peaks: layer2.peaks, annotations, grid });
      const told: string[] = [];
      const { fingerprint } = explainer.config;
      const known = await readPartNames(run, { fingerprint, step: explainer.step }, (text) =>
        told.push(text),
      );
      expect(told).to.deep.equal([]);
      expect(known).to.include({ format: 2, images: layer2.images, step: explainer.step });
      expect(known?.filters).to.have.length(C);
      known?.filters.forEach((filter, f) => {
        if (Number.isNaN(layer2.perFilter[f])) expect(filter).to.equal(null);
        else {
          expect(filter).to.deep.equal({
            category: annotations.categories[layer2.category[f]!],
            instability: layer2.perFilter[f],
            firing: layer2.firing[f],
            duplicateOf: duplicateOf[f] === -1 ? null : duplicateOf[f],
            names: names[f],
          });
        }
      });
    });
  });

  it('with versus every number is of the difference of two classes', async () => {
    await use(async (explainer) => {
      const one = await explainer.explain(photo, { class: 0 });
      const two = await explainer.explain(photo, { class: 1 });
      const found = await explainer.explain(photo, { class: 0, versus: 1 });
      expect(found.versus?.name).to.equal(CLASSES[1]);
      expect(found.contrast?.than.index).to.equal(1);
      const alone = (of: Explanation): Map<number, number> =>
        new Map(of.parts.map((part) => [part.filter, part.alone]));
      for (const { filter, alone: value } of found.parts) {
        const difference = alone(one).get(filter)! - alone(two).get(filter)!;
        expect(value).to.be.closeTo(difference, 1e-5);
      }
      const { tracks, contrast } = found;
      const sum = found.regions.reduce((total, { value }) => total + value, 0);
      expect(sum + tracks.ordinary).to.be.closeTo(contrast!.total, 1e-5);
      for (const { value, rather } of found.regions) expect(rather).to.be.closeTo(value, 1e-6);
      const other = one.regions.reduce((total, { rather }) => total + rather!, 0);
      expect(other + one.contrast!.ordinary, 'of two classes the other is next').to.be.closeTo(
        contrast!.total,
        1e-5,
      );
      expect(found.sentence).to.include(`${CLASSES[0]} rather than ${CLASSES[1]}`);
    });
  });

  it('compares with the class that the photograph is known to be', async () => {
    await use(async (explainer) => {
      const { prediction } = await explainer.explain(photo);
      const truth = 1 - prediction.index;
      expect((await explainer.explain(photo, { truth })).contrast?.than.index).to.equal(truth);
      const same = await explainer.explain(photo, { truth: prediction.index });
      expect(same.contrast?.than.index, 'it is right: the next one').to.equal(truth);
    });
  });
});
