import { expect } from 'chai';
import { loadBinding, nativeError, wrapped } from '../lib/engine/binding.js';
import { Graph } from '../lib/engine/graph.js';
import { maxpool2d, relu, scale } from '../lib/engine/ops/index.js';
import { createSession } from '../lib/engine/session.js';
import { compile, convolution, encode, use } from './support/native.js';
import { failure } from './support/performer.js';

const binding = loadBinding();
const none = new Int32Array();

describe('native: calls', () => {
  const whole = compile(convolution());

  it('wrong arguments are errors with a code', async () => {
    await use(whole.arenaBytes, async (session) => {
      const id = session.addProgram(whole.words);
      const x = whole.program.inputs.get('x') ?? -1;
      const slots = Int32Array.of(x);
      const right = new Float32Array(2 * 3 * 8 * 8);
      const calls: [string, RegExp, () => unknown][] = [
        ['E_ARGUMENT', /Int32Array for program/, () => session.addProgram([1] as never)],
        ['E_ARGUMENT', /number for program/, () => session.run('a' as never, none, [], none)],
        ['E_ARGUMENT', /no program 9/, () => session.run(9, none, [], none)],
        ['E_ARGUMENT', /no program -1/, () => session.upload(-1, none, [])],
        ['E_ARGUMENT', /no slot 99/, () => session.run(id, none, [], Int32Array.of(99))],
        ['E_ARGUMENT', /no slot -1/, () => session.download(id, Int32Array.of(-1))],
        ['E_ARGUMENT', /one array per slot/, () => session.run(id, slots, [], none)],
        ['E_ARGUMENT', /array of typed arrays/, () => session.run(id, slots, 1 as never, none)],
        ['E_DTYPE', /Float32Array/, () => session.run(id, slots, [new Int32Array(384)], none)],
        ['E_DTYPE', /Float32Array/, () => session.run(id, slots, [{} as never], none)],
        ['E_SHAPE', /384 elements .* 383/, () => session.upload(id, slots, [right.subarray(1)])],
        ['E_ARGUMENT', /no program 3/, () => session.profile(3)],
      ];
      for (const [code, text, call] of calls) {
        const error = await Promise.resolve()
          .then(call)
          .catch((caught: unknown) => nativeError(caught));
        expect(error, String(text)).to.be.instanceOf(Error);
        expect(error).to.have.property('code', code);
        expect((error as Error).message).to.match(text);
      }
      structuredClone(right.buffer, { transfer: [right.buffer] });
      const detached = await failure('E_SHAPE', /384 elements .* 0/, () =>
        wrapped(() => session.run(id, slots, [right], none)),
      );
      expect(detached.message).to.match(/^\[native\]/);
    });
  });

  it('a method on a strange object throws', () => {
    const session = binding.createSession({ backend: 'cpu', threads: 1, arenaBytes: 64 });
    const info = session.info.bind({} as never);
    expect(info).to.throw();
    session.dispose();
  });

  it('places in the data that a max-pool gradient gets wrong touch no other memory', async () => {
    const graph = new Graph();
    const before = graph.state('before', [64], { fill: 3 });
    const x = graph.input('x', [1, 1, 4, 4]);
    const g = graph.input('g', [1, 1, 2, 2]);
    const index = graph.input('index', [1, 1, 2, 2], { dtype: 'i32', layout: 'maps' });
    graph.output('kept', relu(before));
    graph.output('y', maxpool2d(x, { kernel: 2 }));
    graph.output('after', scale(g, { factor: 1 }));
    for (const value of [x, index]) graph.output(value.node.name, value);
    const { program, arenaBytes } = compile(graph);
    // The forward pass becomes the backward one, with the given index.
    const pool = program.ops.find(({ kernel }) => kernel === 'maxpool2d_forward');
    if (!pool) throw new Error('no pooling');
    const dx = program.inputs.get('x') ?? -1;
    pool.kernel = 'maxpool2d_backward';
    pool.slots = [program.inputs.get('g') ?? -1, program.inputs.get('index') ?? -1, -1, dx];
    await use(arenaBytes, async (session) => {
      const id = session.addProgram(encode(program));
      const slots = ['before', 'g', 'index'].map(
        (name) => program.inputs.get(name) ?? program.persistent.get(name)?.slot ?? -1,
      );
      const values = [
        new Float32Array(64).fill(3),
        Float32Array.of(1, 2, 3, 4),
        Int32Array.of(5, -1, 16, 2 ** 31 - 1),
      ];
      const fetch = Int32Array.from([program.outputs.get('kept') ?? -1, dx]);
      const got = await session.run(id, Int32Array.from(slots), values, fetch);
      expect([...(got[0] ?? [])]).to.deep.equal(Array<number>(64).fill(3));
      expect([...(got[1] ?? [])]).to.deep.equal(Array.from({ length: 16 }, (_, i) => +(i === 5)));
    });
  });

  it('many runs over two sessions end in the order of their calls', async () => {
    const { words, arenaBytes } = whole;
    await use(arenaBytes, (a) =>
      use(arenaBytes, async (b) => {
        for (const session of [a, b]) session.addProgram(words);
        const ended: number[] = [];
        const runs = Array.from({ length: 400 }, async (_, i) => {
          await ((i * 7) % 3 === 0 ? a : b).run(0, none, [], none);
          ended.push(i);
        });
        await Promise.all(runs);
        expect(ended).to.deep.equal(Array.from({ length: 400 }, (_, i) => i));
      }),
    );
  });

  it('so do runs over sessions with other numbers of threads: one worker runs all', async () => {
    const sessions = [1, 2, 3].map((threads) =>
      binding.createSession({ backend: 'cpu', threads, arenaBytes: whole.arenaBytes }),
    );
    for (const session of sessions) session.addProgram(whole.words);
    expect(sessions.map((session) => session.info().threads)).to.deep.equal([1, 2, 3]);
    const ended: number[] = [];
    const runs = Array.from({ length: 300 }, async (_, i) => {
      await sessions[(i * 7) % 3]?.run(0, none, [], none);
      ended.push(i);
    });
    await Promise.all(runs);
    for (const session of sessions) session.dispose();
    expect(ended).to.deep.equal(Array.from({ length: 300 }, (_, i) => i));
  });

  it('a wrong number of threads is E_ARGUMENT', async () => {
    for (const threads of [-1, 1.5, NaN, Infinity, 1025, 2 ** 31]) {
      await failure('E_ARGUMENT', /1 to 1024, or 0 for all, for threads but received/, () =>
        binding.createSession({ backend: 'cpu', threads, arenaBytes: 64 }),
      );
    }
  });

  it('sessions with other numbers of threads work at one time', async () => {
    const run = async (threads: number): Promise<number> => {
      const session = await createSession({ programs: { main: convolution() }, threads });
      const inputs = { x: new Float32Array(384).fill(threads) };
      const { y } = await session.run('main', { inputs, fetch: ['y'] });
      session.dispose();
      return (y?.[0] ?? NaN) / threads;
    };
    const results = await Promise.all([1, 2, 3, 4, 1, 2].map(run));
    expect(new Set(results).size).to.equal(1);
  });

  it('absurd memory is E_MEMORY', async () => {
    for (const arenaBytes of [2 ** 50, 2 ** 62, Infinity, NaN, -1]) {
      await failure('E_MEMORY', /^\[createSession\] The plan needs .* MiB but this machine/, () =>
        binding.createSession({ backend: 'cpu', threads: 1, arenaBytes }),
      );
    }
    const refused = await failure('E_MEMORY', /./, () =>
      binding.createSession({ backend: 'cpu', threads: 1, arenaBytes: 2 ** 50 }),
    );
    expect(refused.details.bytes).to.equal(2 ** 50);
    expect(refused.details.limit).to.equal(binding.devices()[0]?.memoryBytes);
    const graph = new Graph();
    for (let i = 0; i < 1024; i++)
      graph.output(`y${String(i)}`, graph.input(`x${String(i)}`, [2 ** 30]));
    await failure('E_MEMORY', /The plan needs 4194304 MiB but this machine allows \d+ MiB/, () =>
      createSession({ programs: { main: graph }, backend: 'cpu' }),
    );
  });
});
