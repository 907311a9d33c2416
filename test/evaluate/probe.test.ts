import { expect } from 'chai';
import { linearProbe } from '../../lib/evaluate/probe.js';
import { Random } from '../../lib/random.js';
import { failure } from '../support/performer.js';

const CELLS = 600;
const random = new Random(5, 'test');
/** Three filters; label 1, 2 or 4: which of them is largest. */
const values = Float32Array.from({ length: CELLS * 3 }, () => random.uniform());
const labels = Array.from({ length: CELLS }, (_, n) => {
  const three = [...values.subarray(n * 3, n * 3 + 3)];
  return [1, 2, 4][three.indexOf(Math.max(...three))] ?? 0;
});
const responses = { values, filters: 3, scale: [1, 1, 1] };
const photographs = Array.from({ length: CELLS }, (_, n) => Math.floor(n / 10));

describe('evaluate: linear probe', () => {
  it('names labels that are a linear readout, whatever the units of the filters', async () => {
    const scale = [1, 7, 1 / 50];
    const scaled = { values: values.map((v, i) => v * (scale[i % 3] ?? 0)), filters: 3, scale };
    for (const given of [responses, scaled]) {
      const { accuracy, nmi, ari, majority } = await linearProbe(given, labels, {
        photographs,
        seed: 1,
      });
      expect(accuracy).to.be.above(0.95);
      expect(nmi).to.be.above(0.8);
      expect(ari).to.be.above(0.85);
      expect(majority).to.be.within(0.33, 0.43);
    }
  });

  it('is no better than the most frequent label where responses say nothing', async () => {
    const noise = { ...responses, values: values.map(() => random.uniform()) };
    const scores = await linearProbe(noise, labels, { photographs, seed: 1 });
    expect(scores.accuracy).to.be.within(0.23, scores.majority + 0.1);
    expect(scores.ari).to.be.within(-0.05, 0.05);
    const silent = { ...responses, scale: [0, 0, 0] };
    expect(await linearProbe(silent, labels, { photographs, seed: 1 })).to.include({
      nmi: 0,
      ari: 0,
    });
  });

  it('is scored on other photographs than it is fitted on', async () => {
    const swapped = labels.map((label, n) => ((photographs[n] ?? 0) % 2 ? (label * 2) % 7 : label));
    const { accuracy } = await linearProbe(responses, swapped, { photographs, seed: 1 });
    expect(accuracy).to.be.below(0.05);
    const one = await linearProbe(responses, labels, { photographs: labels.map(() => 2), seed: 1 });
    expect(one.accuracy).to.be.NaN;
  });

  it('refuses responses that are not one row a cell', async () => {
    const short = { photographs: photographs.slice(1), seed: 1 };
    await failure('E_SHAPE', /600 cells of 3 filters/, () => linearProbe(responses, labels, short));
  });
});
