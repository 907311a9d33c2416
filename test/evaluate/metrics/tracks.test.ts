import { expect } from 'chai';
import {
  TrackComparison,
  trackShapley,
  type TrackOutputs,
  type TrackScores,
} from '../../../lib/evaluate/metrics/index.js';
import { Random } from '../../../lib/random.js';
import { failure } from '../../support/performer.js';

/** Outputs of `images` images as numbers drawn at random. */
function drawn(images: number, classes: number, seed: number): TrackOutputs {
  const random = new Random(seed);
  const draw = (): Float32Array =>
    Float32Array.from({ length: images * classes }, () => random.normal());
  const full = draw();
  const none = draw();
  // The whole is well above nothing, so that there is a score to share.
  const performer = draw();
  for (let n = 0; n < images; n++) {
    const own = performer.subarray(n * classes, (n + 1) * classes);
    const first = n * classes + own.indexOf(Math.max(...own));
    full[first] = (full[first] ?? 0) + 5;
  }
  return { performer, full, parts: draw(), ordinary: draw(), none };
}

const scoresOf = (outputs: TrackOutputs, classes: number): TrackScores =>
  new TrackComparison({ classes }).add(outputs).scores();

describe('tracks', () => {
  it('Shapley values of two players sum to the whole, and a player that adds nothing gets 0', () => {
    const { parts, ordinary } = trackShapley({ full: 7, parts: 4, ordinary: 2, none: 1 });
    expect([parts, ordinary]).to.deep.equal([4, 2]); // (3 + 5) / 2, (1 + 3) / 2
    expect(trackShapley({ full: 5, parts: 1, ordinary: 5, none: 1 })).to.include({ parts: 0 });
  });

  it('agrees with the definition in float64, batch by batch', () => {
    const [images, classes] = [7, 5];
    const outputs = drawn(images, classes, 1);
    const row = (data: Float32Array, n: number): number[] => [
      ...data.subarray(n * classes, (n + 1) * classes),
    ];
    const first = (list: number[]): number => list.indexOf(Math.max(...list));
    let [share, total, agree] = [0, 0, 0];
    for (let n = 0; n < images; n++) {
      const k = first(row(outputs.performer, n));
      const at = (data: Float32Array): number => row(data, n)[k] ?? NaN;
      const [F, P, O, Z] = [outputs.full, outputs.parts, outputs.ordinary, outputs.none].map(at);
      share += 0.5 * (P! - Z! + (F! - O!));
      total += F! - Z!;
      if (first(row(outputs.parts, n)) === k) agree++;
    }
    const found = scoresOf(outputs, classes);
    expect(found.share).to.be.closeTo(share / total, 1e-12);
    expect(found.agreement.parts).to.be.closeTo(agree / images, 1e-12);
    const cut = (from: number, to?: number): TrackOutputs => {
      const part = (data: Float32Array): Float32Array =>
        data.subarray(from * classes, to === undefined ? undefined : to * classes);
      return {
        ...{ performer: part(outputs.performer), full: part(outputs.full) },
        ...{
          parts: part(outputs.parts),
          ordinary: part(outputs.ordinary),
          none: part(outputs.none),
        },
      };
    };
    const both = new TrackComparison({ classes }).add(cut(0, 3)).add(cut(3));
    expect(both.scores()).to.deep.equal(found);
  });

  it('the share is 1 where the ordinary track is nothing, 0 where the parts are', () => {
    for (const classes of [1, 5]) {
      const outputs = drawn(9, classes, 2);
      const { full, none } = outputs;
      expect(scoresOf({ ...outputs, parts: full, ordinary: none }, classes).share).to.equal(1);
      expect(scoresOf({ ...outputs, parts: none, ordinary: full }, classes).share).to.equal(0);
    }
  });

  it('has no share where nothing is to be shared, and no classes of one number', () => {
    const { full, ...outputs } = drawn(3, 2, 3);
    expect(scoresOf({ ...outputs, full: outputs.none }, 2).share).to.be.NaN;
    const one = scoresOf(drawn(3, 1, 3), 1);
    expect(one.agreement).to.deep.equal({ full: NaN, parts: NaN, ordinary: NaN });
    expect(one.share).to.be.within(-5, 5);
    expect(full).to.have.length(6);
    expect(new TrackComparison({ classes: 2 }).scores()).to.deep.include({ share: NaN, swap: NaN });
  });

  it('probabilities count as their logarithms', () => {
    const scores = new TrackComparison({ classes: 2, kind: 'probabilities' })
      .add({
        performer: Float32Array.of(0.9, 0.1),
        full: Float32Array.of(0.5, 0.5),
        parts: Float32Array.of(0.25, 0.75),
        ordinary: Float32Array.of(0.125, 0.875),
        none: Float32Array.of(0.125, 0.875),
      })
      .scores();
    expect(scores.share).to.be.closeTo((0.5 * (1 + 2)) / 2, 1e-12);
  });

  it('counts pairs whose class follows the parts, and leaves out pairs of one class', () => {
    const [a, b] = [
      [1, 0],
      [0, 1],
    ] as const;
    const scores = new TrackComparison({ classes: 2 })
      .addSwapped({
        own: Float32Array.of(...a, ...a, ...b, ...a),
        other: Float32Array.of(...b, ...b, ...a, ...a),
        mixed: Float32Array.of(...b, ...a, ...a, ...b),
      })
      .scores();
    expect(scores).to.include({ pairs: 3 });
    expect(scores.swap).to.be.closeTo(2 / 3, 1e-12);
  });

  it('refuses outputs that do not fit', async () => {
    const outputs = { ...drawn(2, 3, 1), none: new Float32Array(5) };
    await failure('E_SHAPE', /\[tracks\] Expected \(images, 3\) values/, () =>
      scoresOf(outputs, 3),
    );
    await failure('E_ARGUMENT', /classes/, () => new TrackComparison({ classes: 0 }));
  });
});
