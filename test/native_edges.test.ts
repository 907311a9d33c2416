import { expect } from 'chai';
import { loadBinding, wrapped, type NativeSession } from '../lib/engine/binding.js';
import { compile, convolution, use } from './support/native.js';
import { failure } from './support/performer.js';

describe('native: what callers do in the middle, and sizes at the edge', () => {
  const binding = loadBinding();
  const whole = compile(convolution());
  const none = new Int32Array();

  it('a getter that disposes of the session is E_STATE, and nothing freed is read', async () => {
    const id = 0;
    const x = whole.program.inputs.get('x') ?? -1;
    const calls: ((session: NativeSession, arrays: Float32Array[]) => Promise<unknown>)[] = [
      (session, arrays) => session.upload(id, Int32Array.of(x), arrays),
      (session, arrays) => session.run(id, Int32Array.of(x), arrays, none),
    ];
    for (const call of calls) {
      const session = binding.createSession({
        ...{ backend: 'cpu', threads: 1, arenaBytes: whole.arenaBytes },
      });
      session.addProgram(whole.words);
      const arrays: Float32Array[] = [];
      Object.defineProperty(arrays, 0, {
        get: () => {
          session.dispose();
          return new Float32Array(2 * 3 * 8 * 8);
        },
      });
      await failure('E_STATE', /has been disposed of/, () => wrapped(() => call(session, arrays)));
    }
  });

  it('a setter that disposes of the session while info() is made', () => {
    const session = binding.createSession({ backend: 'cpu', threads: 1, arenaBytes: 64 });
    Object.defineProperty(Object.prototype, 'backend', {
      configurable: true,
      set: () => session.dispose(),
    });
    try {
      expect(session.info()).to.include({ threads: 1, arenaBytes: 64 });
    } finally {
      Reflect.deleteProperty(Object.prototype, 'backend');
    }
  });

  it('sizes that pass the largest int when they are rounded up to blocks are refused', async () => {
    const [magic = 0, version = 0] = whole.words;
    const [ROWS, LINEAR] = [0, 3];
    const most = 2 ** 31 - 1;
    const types = [
      [0, ROWS, 1, most, 1, 1, 1, 0, 0, 0],
      [0, ROWS, 2, 1, most - 14, 1, 1, 0, 0, 0],
      [0, ROWS, 2, 1, 2 ** 28, 1, 1, 1, 2 ** 14, 2 ** 14],
      [0, LINEAR, 2, 1, 2 ** 30, 1, 1, 2, 2 ** 15, 2 ** 14],
    ];
    await use(4096, async (session) => {
      for (const type of types) {
        const words = Int32Array.from([magic, version, 1, 0, ...type, 0]);
        await failure('E_INTERNAL', /^\[program\] a (slot|flattened axis) is too large/, () =>
          wrapped(() => session.addProgram(words)),
        );
      }
    });
  });
});
