import { expect } from 'chai';
import { Random, type RandomState } from '../../lib/random.js';

const draws = (random: Random, count: number): number[] =>
  Array.from({ length: count }, () => random.uint32());

describe('random', () => {
  it('is xoshiro128** (first numbers of the reference implementation from 1, 2, 3, 4)', () => {
    const random = Random.restore({ key: '', words: [1, 2, 3, 4], spare: null });
    expect(draws(random, 10)).to.deep.equal([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597,
      4258142804,
    ]);
  });

  it('gives the same numbers for the same seed and label, others for others', () => {
    expect(draws(new Random(7, 'a'), 4)).to.deep.equal(draws(new Random(7, 'a'), 4));
    const starts = ['1', '2', '1/a', '1/b', '2/a', '1/a/b'].map((key) => {
      const [seed = '', ...labels] = key.split('/');
      return draws(new Random(Number(seed), labels.join('/')), 2).join();
    });
    expect(new Set(starts).size).to.equal(starts.length);
  });

  it('splits by label, whatever was drawn before', () => {
    const parent = new Random(3);
    const before = draws(parent.split('x'), 3);
    parent.normal();
    expect(draws(parent.split('x'), 3)).to.deep.equal(before);
    expect(draws(new Random(3, 'x'), 3)).to.deep.equal(before);
    expect(draws(new Random(3).split('a').split('b'), 3)).to.deep.equal(
      draws(new Random(3, 'a/b'), 3),
    );
  });

  it('goes on from a state that went through JSON, between the two numbers of a pair too', () => {
    const random = new Random(11, 'state');
    random.normal();
    const state = JSON.parse(JSON.stringify(random.state())) as RandomState;
    const next = [random.normal(), random.normal(), random.uniform(), random.int(10)];
    const copy = Random.restore(state);
    expect([copy.normal(), copy.normal(), copy.uniform(), copy.int(10)]).to.deep.equal(next);
    expect(draws(copy.split('y'), 2)).to.deep.equal(draws(random.split('y'), 2));
  });

  it('refuses seeds, states and ranges that are none', () => {
    for (const seed of [-1, 0.5, NaN, 2 ** 53]) {
      expect(() => new Random(seed))
        .to.throw('seed')
        .with.property('code', 'E_ARGUMENT');
    }
    for (const words of [
      [0, 0, 0, 0],
      [1, 2, 3, 2 ** 32],
      [1, 2, 3, 0.5],
    ]) {
      const state = { key: '', words, spare: null } as RandomState;
      expect(() => Random.restore(state)).to.throw('state');
    }
    for (const n of [0, -1, 1.5, 2 ** 33]) expect(() => new Random(1).int(n)).to.throw('n');
  });

  it('is uniform in [lo, hi), normal with mean 0 and deviation 1', () => {
    const random = new Random(5);
    const count = 40000;
    let [mean, square, fourth, uniform] = [0, 0, 0, 0];
    for (let i = 0; i < count; i++) {
      const z = random.normal();
      [mean, square, fourth] = [mean + z / count, square + z ** 2 / count, fourth + z ** 4 / count];
      const u = random.uniform(2, 4);
      expect(u).to.be.within(2, 4).and.not.equal(4);
      uniform += u / count;
    }
    expect(mean).to.be.closeTo(0, 0.02);
    expect(square).to.be.closeTo(1, 0.03);
    expect(fourth).to.be.closeTo(3, 0.2);
    expect(uniform).to.be.closeTo(3, 0.01);
  });

  it('draws integers evenly, also below numbers that are no power of two', () => {
    const random = new Random(9);
    const counts = new Array<number>(7).fill(0);
    for (let i = 0; i < 14000; i++) counts[random.int(7)]!++;
    for (const count of counts) expect(count).to.be.closeTo(2000, 160);
    expect(random.int(1)).to.equal(0);
    expect(random.int(2 ** 32)).to.be.below(2 ** 32);
  });

  it('permutes: each number once, each order about as often', () => {
    const random = new Random(2);
    expect([...random.permutation(100)].sort((a, b) => a - b)).to.deep.equal([
      ...Array(100).keys(),
    ]);
    const counts = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const order = random.shuffle(['a', 'b', 'c']).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).to.equal(6);
    for (const count of counts.values()) expect(count).to.be.closeTo(1000, 120);
    expect(random.permutation(0)).to.have.length(0);
  });
});
