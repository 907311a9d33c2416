import { expect } from 'chai';
import type { Evaluation } from '../../lib/evaluate/evaluate.js';
import { LIMITS, type Finding } from '../../lib/evaluate/findings.js';
import type { FilterScores, ScoredSets } from '../../lib/evaluate/filter_scores.js';
import { verdictLines, verdictOf } from '../../lib/evaluate/verdict.js';

/** Scores of a set as far as a verdict reads them. */
function scores(value: number, r2: number, filters = 10, duplicates = 0): FilterScores {
  return {
    value,
    r2: { mean: r2 },
    peaks: { filters },
    parts: { duplicates, covered: ['dog/head'], landmarks: ['dog/head', 'dog/legs'] },
    images: 200,
  } as unknown as FilterScores;
}

function scored(parts: FilterScores, more: Partial<Record<string, FilterScores>> = {}): ScoredSets {
  const controls = {
    ...{ untrained: scores(0.12, 0.1), energy: scores(0.11, 0.2) },
    ...{ performerSmoothed: scores(0.1, 0.15), random: scores(0.2, 0) },
    ...{ fixedPositionBest: scores(0.1, 0), fixedPositionCentre: scores(0.11, 0) },
    ...more,
  };
  const name = { category: 'dog', part: 'head', at: 'inside', purity: 1, photographs: 10 };
  const names = { performer: [], layer2: [[name], [{ ...name, at: 'near' }], []] };
  const sets = { performer: scores(0.1, 0.1), layer1: parts, layer2: parts, names };
  return { ...sets, controls, baselines: {}, sources: {} } as unknown as ScoredSets;
}

/** An evaluation of which all is well. */
function evaluation(change: object = {}): Evaluation {
  return {
    instability: scored(scores(0.05, 0.5)),
    p: 0.9,
    tracks: { share: 0.97, agreement: { full: 0.98, parts: 0.96, ordinary: 0.3 }, swap: 0.9 },
    occlusion: { images: 75, pairedDifference: 1, standardError: 0.1 },
    deadFilters: 0,
    reconstruction: { fc6: 0.2, fc7: 0.3 },
    head: { agreement: 0.98, correlation: undefined, halfL1: 0.05, images: 300 },
    codes: { pca: {} },
    ...change,
  } as unknown as Evaluation;
}

const statusOf = (change: object, topic: Finding['topic']): string | undefined =>
  verdictOf(evaluation(change)).findings.find((one) => one.topic === topic)?.status;

describe('evaluate: the verdict', () => {
  it('says that good parts are good, in sentences with their numbers, and has nothing to try', () => {
    const verdict = verdictOf(evaluation());
    expect(verdict.status).to.equal('good');
    expect(verdict.summary).to.equal(
      'The parts are steadier than all that they are held against, and they carry the decision.',
    );
    expect(verdict.findings.map(({ topic, status }) => `${topic} ${status}`)).to.deep.equal(
      [
        ...['cnn', 'fixedPoint', 'others', 'decision', 'partsAlone', 'features', 'allClasses'],
        ...['distinct', 'occlusion', 'enough'],
      ].map((topic) => `${topic} good`),
    );
    const text = verdictLines(verdict).join('\n');
    expect(text).to.match(/^Verdict: The parts/);
    expect(text).to.include('at 1 of 2 annotated parts, and 1 bear the name of a part.');
    expect(text).to.include('0.050 of the image diagonal').and.include('in 98 %');
    expect(text).to.include(
      "p = 0.90 is the parts' share of the rebuilt features, not of the score",
    );
    for (const { text: sentence } of verdict.findings) expect(sentence).to.match(/^[A-Z\d].*\.$/);
    expect(verdict.findings[0]?.numbers).to.deep.equal({ parts: 0.05, other: 0.1, ratio: 0.5 });
    expect(verdict.next).to.deep.equal([]);
  });

  it('calls each number by its limits, on both sides of each', () => {
    const head = (more: object): object => ({ head: { ...evaluation().head, ...more } });
    const tracks = (parts: number): object => ({
      tracks: { share: 0.9, agreement: { full: 1, parts, ordinary: 0 } },
    });
    const cases = [
      ['decision', 'agreement', (value: number) => head({ agreement: value })],
      ['partsAlone', 'partsAlone', tracks],
      ['features', 'error', (value: number) => ({ reconstruction: { fc6: value, fc7: 0.01 } })],
      ['allClasses', 'allClasses', (value: number) => head({ halfL1: value })],
      ['enough', 'photographs', (value: number) => head({ images: value })],
      ['cnn', 'ratio', (r: number) => ({ instability: scored(scores(0.1 * r, 0.5)) })],
    ] as const;
    for (const [topic, limit, change] of cases) {
      const { good, weak, most } = LIMITS[limit];
      const step = most ? 1e-6 : -1e-6;
      const found = [good - step, good + step, weak - step, weak + step].map((value) =>
        statusOf(change(value), topic),
      );
      expect(found, topic).to.deep.equal(['good', 'weak', 'weak', 'bad']);
    }
  });

  it('a fixed point or a control that is as steady takes the word back, and is named', () => {
    const fixed = {
      instability: scored(scores(0.05, -0.1)),
    };
    expect(statusOf(fixed, 'fixedPoint')).to.equal('bad');
    const blind = scored(scores(0.05, 0.5), { fixedPositionBest: scores(0.04, 0) });
    expect(statusOf({ instability: blind }, 'fixedPoint'), 'location can be won unseen').to.equal(
      'good',
    );
    expect(statusOf({ instability: scored(scores(0.05, 0.2)) }, 'fixedPoint')).to.equal('weak');
    expect(verdictOf(evaluation(fixed)).summary).to.match(
      /^The parts are not steadier.*, but they/,
    );
    const energy = { instability: scored(scores(0.05, 0.5), { energy: scores(0.03, 0.2) }) };
    const { findings } = verdictOf(evaluation(energy));
    const others = findings.find(({ topic }) => topic === 'others');
    expect(others?.status).to.equal('weak');
    expect(others?.text).to.include('not better in both: smoothed energy');
    expect(others?.numbers).to.include({ sets: 4, steadier: 3, following: 4 });
  });

  it('few photographs, repeats and a large error are reasons against trust; options are named', () => {
    const poor = {
      instability: scored(scores(0.05, 0.5, 10, 8)),
      reconstruction: { fc6: 0.7 },
      head: { ...evaluation().head, images: 12 },
      codes: {},
    };
    const { findings, next, summary } = verdictOf(evaluation(poor));
    const trust = findings.at(-1);
    expect(trust?.status).to.equal('bad');
    expect(trust?.text)
      .to.include('12 photographs kept out are few')
      .and.include('a relative error of 0.70 is above 0.6')
      .and.include('80 % of the filters repeat others or never fire');
    expect(summary).to.include('not enough to trust');
    expect(next.map(({ option }) => option)).to.deep.equal([
      'train --images',
      'train --epochs',
      'train --diversity',
      'evaluate --baselines',
    ]);
  });

  it('what was not measured is unknown, never good', () => {
    const empty = { images: 0, agreement: NaN, halfL1: NaN };
    const blind = { instability: undefined, occlusion: undefined, head: empty, reconstruction: {} };
    const verdict = verdictOf(evaluation(blind));
    expect(verdict.status).to.equal('unknown');
    expect(verdict.summary).to.match(/cannot be told without landmarks.*photographs kept out/);
    expect(verdict.next.map(({ option }) => option)).to.include('evaluate --landmarks');
    expect(verdict.findings.every(({ status }) => status !== 'good')).to.equal(true);
    const number = { head: { agreement: NaN, correlation: 0.97, halfL1: NaN, images: 200 } };
    expect(statusOf(number, 'decision')).to.equal('good');
    expect(statusOf(number, 'allClasses'), 'one number has no classes').to.equal(undefined);
    expect(JSON.stringify(verdict)).not.to.include('NaN');
  });
});
