import { expect } from 'chai';
import { mapOrdered } from '../../lib/data/ordered.js';
import { failureOf } from './temporary.js';

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

async function collect<T>(results: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const result of results) all.push(result);
  return all;
}

describe('ordered work', () => {
  it('keeps the order, works at most so many at a time, and no further ahead', async () => {
    let running = 0;
    let most = 0;
    let started = 0;
    const work = async (i: number): Promise<number> => {
      started++;
      most = Math.max(most, ++running);
      await pause((i * 7) % 5);
      running--;
      return i;
    };
    const items = Array.from({ length: 40 }, (_, i) => i);
    const found: number[] = [];
    for await (const i of mapOrdered(items, work, { concurrency: 3, ahead: 5 })) {
      found.push(i);
      expect(started).to.be.at.most(i + 5);
      if (i % 10 === 0) await pause(10);
    }
    expect(found).to.deep.equal(items);
    expect(most).to.equal(3);
    expect(await collect(mapOrdered([], work, { concurrency: 1, ahead: 1 }))).to.deep.equal([]);
  });

  it('passes an error on in its turn and starts nothing more', async () => {
    let started = 0;
    const work = async (i: number): Promise<number> => {
      started++;
      await pause(1);
      if (i === 2) throw new Error('two');
      return i;
    };
    const items = Array.from({ length: 100 }, (_, i) => i);
    const found: number[] = [];
    const run = async (): Promise<void> => {
      for await (const i of mapOrdered(items, work, { concurrency: 2, ahead: 6 })) found.push(i);
    };
    expect((await failureOf(run())).message).to.equal('two');
    expect(found).to.deep.equal([0, 1]);
    await pause(5);
    expect(started).to.be.at.most(8);
  });

  it('waits for what is under way when the consumer leaves', async () => {
    let finished = 0;
    const work = async (): Promise<void> => {
      await pause(5);
      finished++;
    };
    const results = mapOrdered([1, 2, 3, 4, 5, 6], work, { concurrency: 2, ahead: 4 });
    await results.next();
    await results.return();
    const left = finished;
    await pause(15);
    expect(finished).to.equal(left).and.be.within(1, 4);
  });
});
