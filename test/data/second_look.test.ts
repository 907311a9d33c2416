import { expect } from 'chai';
import { setTimeout as sleep } from 'node:timers/promises';
import { secondLook } from '../../lib/data/second_look.js';

describe('second look', () => {
  it('is taken alone, while others wait, and its result counts', async () => {
    let running = 0;
    let atOnce = 0;
    const work = (milliseconds: number, fails: boolean) => async (): Promise<string> => {
      running++;
      atOnce = Math.max(atOnce, running);
      await sleep(milliseconds);
      running--;
      if (fails) throw new Error('first');
      return 'first';
    };
    const again = async (): Promise<string> => {
      expect(running++).to.equal(0);
      await sleep(5);
      expect(running--).to.equal(1);
      return 'again';
    };
    const calls = [1, 20, 3, 10, 2, 8].map((milliseconds, i) =>
      secondLook(work(milliseconds, i % 2 === 0), again),
    );
    const later = sleep(4).then(() => secondLook(work(5, true), again));
    const results = ['again', 'first', 'again', 'first', 'again', 'first'];
    expect(await Promise.all(calls)).to.deep.equal(results);
    expect(await later).to.equal('again');
    expect(atOnce).to.equal(6);
  });

  it('fails with the second error', async () => {
    let calls = 0;
    const work = (): Promise<never> => Promise.reject(new Error(`error ${String(++calls)}`));
    const error = await secondLook(work).catch((error: unknown) => error);
    expect((error as Error).message).to.equal('error 2');
    expect(await secondLook(() => Promise.resolve(1))).to.equal(1);
  });
});
