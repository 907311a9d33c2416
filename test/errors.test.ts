import { expect } from 'chai';
import { fileError } from '../lib/data/file_error.js';
import { memoryError, PartlensError, withMemoryErrors } from '../lib/errors.js';
import { failure } from './support/performer.js';

describe('errors: memory', () => {
  const limits: [string, () => unknown][] = [
    ['a typed array beyond V8', () => new Float32Array(2 ** 50)],
    ['a buffer beyond the machine', () => new ArrayBuffer(2 ** 46)],
    ['an array buffer beyond 2^53', () => new ArrayBuffer(2 ** 52)],
    ['a string beyond V8', () => 'x'.repeat(2 ** 30)],
    ['a join beyond V8', () => ['x'.repeat(2 ** 29 - 100), 'x'.repeat(200)].join('')],
  ];
  for (const [what, body] of limits) {
    it(`${what} is E_MEMORY, also on the way through a file's error`, async () => {
      const work = (): Promise<unknown> => Promise.resolve().then(body);
      const error = await failure('E_MEMORY', /^\[test\] There is not enough memory: /, () =>
        withMemoryErrors('test', work),
      );
      expect(error.cause).to.be.instanceOf(Error);
      expect(fileError('read', 'x', error.cause)).to.have.property('code', 'E_MEMORY');
    });
  }

  it('other errors stay what they are', async () => {
    const others = [new RangeError('toFixed() digits argument must be between 0 and 100')];
    const known = new PartlensError('E_SHAPE', 'x');
    for (const error of [...others, known, undefined, 'text', 3]) {
      expect(memoryError(error, 'test')).to.equal(error);
    }
    const kept = await withMemoryErrors('test', () => Promise.reject(known)).catch(
      (error: unknown) => error,
    );
    expect(kept).to.equal(known);
  });
});
