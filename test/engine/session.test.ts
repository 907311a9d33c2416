import { expect } from 'chai';
import { loadBinding } from '../../lib/engine/binding.js';
import { PartlensError } from '../../lib/errors.js';
import { gradient } from '../../lib/engine/grad.js';
import { Graph } from '../../lib/engine/graph.js';
import {
  add,
  conv2d,
  flatten,
  linear,
  meanSquare,
  relu,
  scale,
} from '../../lib/engine/ops/index.js';
import { adam, hyperParameters } from '../../lib/engine/optimizer/index.js';
import { planPrograms } from '../../lib/engine/plan.js';
import { createSession, type Session } from '../../lib/engine/session.js';
import { sizeOf } from '../../lib/engine/tensor.js';
import { normal, seeded } from '../support/draw.js';
import { failure } from '../support/performer.js';

/** y = factor * x + w, of 3 values. */
function affine(factor: number): Graph {
  const graph = new Graph();
  const x = graph.input('x', [3]);
  graph.output('y', add(scale(x, { factor }), graph.parameter('w', [3])));
  return graph;
}

async function use<T>(
  programs: Record<string, Graph>,
  body: (session: Session) => Promise<T>,
  threads = 2,
): Promise<T> {
  const session = await createSession({ programs, backend: 'cpu', threads });
  try {
    return await body(session);
  } finally {
    session.dispose();
  }
}

const three = (a: number, b: number, c: number): Float32Array => Float32Array.of(a, b, c);

/** A convolution and a dense layer, trained: heavy enough to be busy for a while. */
function heavy(): Graph {
  const graph = new Graph();
  const x = graph.input('x', [16, 32, 28, 28]);
  const w = graph.parameter('w', [64, 32, 3, 3], { layout: 'conv_weight', fill: 0.01 });
  const maps = conv2d(x, w, graph.parameter('b', [64]), { pad: 1, stride: 2, relu: true });
  const v = graph.parameter('v', [10, 64 * 14 * 14], {
    layout: 'linear_weight',
    chw: [64, 14, 14],
    fill: 0.001,
  });
  const loss = meanSquare(linear(flatten(maps), v, undefined), graph.input('target', [16, 10]));
  const parameters = graph.parameters();
  const gradients = gradient([{ of: loss }], parameters).flatMap((value, i) => {
    const parameter = parameters[i];
    return value && parameter ? [[parameter, value] as const] : [];
  });
  adam(gradients, graph.input('hyper', [3]));
  graph.output('loss', loss);
  return graph;
}

describe('session: values', () => {
  it('writes, runs and reads', async () => {
    await use({ main: affine(2) }, async (session) => {
      await session.write({ w: three(10, 20, 30) });
      const { y } = await session.run('main', { inputs: { x: three(1, 2, 3) }, fetch: ['y'] });
      expect(y).to.deep.equal(three(12, 24, 36));
      expect(await session.read(['w'])).to.deep.equal({ w: three(10, 20, 30) });
    });
  });

  it('new parameters, states and constants hold their fill', async () => {
    const graph = new Graph();
    const kept = [graph.parameter('zero', [2]), graph.state('minus', [2], { fill: -1 })];
    const steps = graph.state('steps', [2], { dtype: 'i32', fill: 7 });
    const [zero, minus] = kept;
    if (!zero || !minus) throw new Error('no leaves');
    graph.output('sum', add(add(zero, minus), graph.constant(0.5, [2])));
    graph.output('steps', steps);
    await use({ main: graph }, async (session) => {
      const got = await session.run('main', { fetch: ['sum', 'steps'] });
      expect(got).to.deep.equal({ sum: Float32Array.of(-0.5, -0.5), steps: Int32Array.of(7, 7) });
      expect(await session.read(['minus'])).to.deep.equal({ minus: Float32Array.of(-1, -1) });
    });
  });

  it('keeps row-major order in every layout', async () => {
    const graph = new Graph();
    const shapes = { maps: [2, 19, 3, 5], conv_weight: [18, 3, 2, 3], linear_weight: [17, 38] };
    const values: Record<string, Float32Array> = {};
    for (const [layout, shape] of Object.entries(shapes)) {
      const chw = layout === 'linear_weight' ? ([19, 2, 1] as const) : undefined;
      const leaf = graph.parameter(layout, shape, { layout: layout as keyof typeof shapes, chw });
      graph.output(`${layout} out`, relu(leaf));
      values[layout] = Float32Array.from({ length: sizeOf(shape) }, (_, i) => i);
    }
    await use({ main: graph }, async (session) => {
      await session.write(values);
      const fetch = Object.keys(values).map((name) => `${name} out`);
      const outputs = await session.run('main', { fetch });
      const kept = await session.read(Object.keys(values));
      for (const [name, value] of Object.entries(values)) {
        expect(kept[name], name).to.deep.equal(value);
        expect(outputs[`${name} out`], `${name} out`).to.deep.equal(value);
      }
    });
  });

  it('several programs share parameters by name', async () => {
    const other = new Graph();
    other.output('double', scale(other.parameter('w', [3]), { factor: 2 }));
    await use({ main: affine(1), other }, async (session) => {
      await session.write({ w: three(1, 2, 3) });
      expect(await session.run('other', { fetch: ['double'] })).to.deep.equal({
        double: three(2, 4, 6),
      });
      const { y } = await session.run('main', { inputs: { x: three(0, 0, 0) }, fetch: ['y'] });
      expect(y).to.deep.equal(three(1, 2, 3));
      expect([...session.persistent().keys()]).to.deep.equal(['w']);
    });
  });

  it('two sessions share nothing', async () => {
    await use({ main: affine(1) }, async (a) => {
      await use({ main: affine(1) }, async (b) => {
        await a.write({ w: three(1, 1, 1) });
        await b.write({ w: three(2, 2, 2) });
        expect(await a.read(['w'])).to.deep.equal({ w: three(1, 1, 1) });
      });
    });
  });

  it('copies inputs and parameters at the call', async () => {
    await use({ main: affine(1) }, async (session) => {
      const w = three(1, 1, 1);
      const x = three(1, 2, 3);
      const written = session.write({ w });
      const ran = session.run('main', { inputs: { x }, fetch: ['y'] });
      w.fill(NaN);
      x.fill(NaN);
      await written;
      expect((await ran).y).to.deep.equal(three(2, 3, 4));
    });
  });

  it('takes a part of a larger buffer', async () => {
    await use({ main: affine(1) }, async (session) => {
      const buffer = Float32Array.of(9, 9, 1, 2, 3, 9);
      const inputs = { x: buffer.subarray(2, 5) };
      const { y } = await session.run('main', { inputs, fetch: ['y'] });
      expect(y).to.deep.equal(three(1, 2, 3));
    });
  });

  it('gives fresh arrays', async () => {
    await use({ main: affine(1) }, async (session) => {
      const inputs = { x: three(1, 2, 3) };
      const first = await session.run('main', { inputs, fetch: ['y'] });
      first.y?.fill(0);
      const second = await session.run('main', { inputs, fetch: ['y'] });
      expect(second.y).to.deep.equal(three(1, 2, 3));
    });
  });

  it('calls take effect in order, awaited or not, also across programs', async () => {
    const named = (name: string): Graph => {
      const graph = new Graph();
      graph.output(`${name} out`, relu(graph.parameter(name, [3])));
      return graph;
    };
    await use({ first: named('a'), second: named('b') }, async (session) => {
      const a = three(1, 1, 1);
      const b = three(2, 2, 2);
      const written = session.write({ a, b });
      const ran = session.run('second', { fetch: ['b out'] });
      const read = session.read(['a', 'b']);
      const later = session.write({ b: three(3, 3, 3), a: three(4, 4, 4) });
      b.fill(NaN);
      await Promise.all([written, later]);
      expect(await ran, 'run after write').to.deep.equal({ 'b out': three(2, 2, 2) });
      expect(await read, 'read before write').to.deep.equal({ a, b: three(2, 2, 2) });
    });
  });

  it('a write with one wrong value writes nothing', async () => {
    const graph = new Graph();
    graph.output('y', add(graph.parameter('a', [1]), graph.parameter('b', [1])));
    await use({ main: graph }, async (session) => {
      await failure('E_SHAPE', /1 values of shape \(1\) for b/, () =>
        session.write({ a: Float32Array.of(1), b: three(1, 2, 3) }),
      );
      expect(await session.read(['a'])).to.deep.equal({ a: Float32Array.of(0) });
    });
  });
});

describe('session: refusals', () => {
  it('unknown names are E_ARGUMENT and told', async () => {
    await use({ main: affine(1) }, async (session) => {
      const inputs = { x: three(1, 2, 3) };
      await failure('E_ARGUMENT', /"?other"?/, () => session.run('other', { inputs }));
      await failure('E_ARGUMENT', /one of x for input of main but received "z"/, () =>
        session.run('main', { inputs: { ...inputs, z: inputs.x } }),
      );
      await failure('E_ARGUMENT', /one of y for output of main but received "z"/, () =>
        session.run('main', { inputs, fetch: ['z'] }),
      );
      await failure('E_ARGUMENT', /\[run\] Expected input x for main but received "nothing"/, () =>
        session.run('main', { fetch: ['y'] }),
      );
      await failure('E_ARGUMENT', /parameter, state or frozen tensor .* received "x"/, () =>
        session.read(['x']),
      );
      await failure('E_ARGUMENT', /parameter, state or frozen tensor .* received "v"/, () =>
        session.write({ v: inputs.x }),
      );
      await failure('E_ARGUMENT', /other/, () => session.profile('other'));
    });
  });

  it('wrong dtype and length are told', async () => {
    await use({ main: affine(1) }, async (session) => {
      await failure('E_DTYPE', /a Float32Array for x but received Int32Array\(3\)/, () =>
        session.run('main', { inputs: { x: Int32Array.of(1, 2, 3) } }),
      );
      await failure('E_DTYPE', /a Float32Array for x but received Float64Array\(3\)/, () =>
        session.run('main', { inputs: { x: Float64Array.of(1, 2, 3) as never } }),
      );
      await failure('E_SHAPE', /3 values of shape \(3\) for x but received Float32Array\(4\)/, () =>
        session.run('main', { inputs: { x: new Float32Array(4) } }),
      );
      await failure('E_DTYPE', /a Float32Array for w but received Int32Array/, () =>
        session.write({ w: Int32Array.of(1, 2, 3) }),
      );
    });
  });

  it('a wrong number of threads, backend or precision is E_ARGUMENT', async () => {
    for (const threads of [-1, 1.5, NaN]) {
      await failure('E_ARGUMENT', /\[createSession\] Expected .* for threads/, () =>
        createSession({ programs: { main: affine(1) }, threads }),
      );
    }
    await failure('E_ARGUMENT', /auto, cpu or cuda for backend but received "tpu"/, () =>
      createSession({ programs: { main: affine(1) }, backend: 'tpu' as never }),
    );
    await failure('E_ARGUMENT', /fp32, tf32 or bf16 for precision but received "fp16"/, () =>
      createSession({ programs: { main: affine(1) }, backend: 'cpu', precision: 'fp16' as never }),
    );
  });

  it('a failed call leaves the session usable', async () => {
    await use({ main: affine(1) }, async (session) => {
      await failure('E_SHAPE', /x/, () =>
        session.run('main', { inputs: { x: new Float32Array(1) } }),
      );
      const { y } = await session.run('main', { inputs: { x: three(1, 2, 3) }, fetch: ['y'] });
      expect(y).to.deep.equal(three(1, 2, 3));
    });
  });

  it('everything after dispose is E_STATE; disposing twice is not', async () => {
    const session = await createSession({ programs: { main: affine(1) }, backend: 'cpu' });
    session.dispose();
    session.dispose();
    const inputs = { x: three(1, 2, 3) };
    const calls: (() => unknown)[] = [
      () => session.run('main', { inputs }),
      () => session.read(['w']),
      () => session.write({ w: inputs.x }),
      () => session.profile('main'),
      () => session.info(),
    ];
    for (const call of calls) await failure('E_STATE', /disposed/, call);
  });

  it('a run that is under way at dispose still ends', async () => {
    const session = await createSession({ programs: { main: affine(3) }, backend: 'cpu' });
    const ran = session.run('main', { inputs: { x: three(1, 2, 3) }, fetch: ['y'] });
    session.dispose();
    expect((await ran).y).to.deep.equal(three(3, 6, 9));
  });

  it('errors of native calls carry the caller’s stack', async () => {
    const session = await createSession({ programs: { main: affine(1) }, backend: 'cpu' });
    session.dispose();
    const error = await session.read(['w']).catch((caught: unknown) => caught);
    expect(error).to.be.instanceOf(PartlensError);
    expect((error as Error).stack).to.include('session.test');
  });

  it('is disposed of at the end of a using block', async () => {
    let kept: Session | undefined;
    {
      using session = await createSession({ programs: { main: affine(1) }, backend: 'cpu' });
      kept = session;
    }
    await failure('E_STATE', /disposed/, () => kept.read(['w']));
  });
});

describe('session: reports', () => {
  it('backend, threads, planned and used memory', async () => {
    const graph = heavy();
    const binding = loadBinding();
    const plan = planPrograms(new Map([['train', graph]]), (type) => binding.bytesOf('cpu', type));
    await use(
      { train: graph },
      async (session) => {
        const info = session.info();
        expect(info).to.include({ backend: 'cpu', reason: '', threads: 3 });
        expect(info.isa).to.match(/^(avx512|avx2|sse2|baseline)$/);
        expect(info.arenaBytes).to.equal(plan.arenaBytes);
        await session.run('train', { inputs: batch(0) });
        expect(session.info().scratchBytes).to.be.above(0);
      },
      3,
    );
  });

  it('threads default to all that are allowed', async () => {
    const allowed = loadBinding().devices()[0]?.threads;
    await use(
      { main: affine(1) },
      (session) => Promise.resolve(expect(session.info().threads).to.equal(allowed)),
      0,
    );
  });

  it('the time of each kernel of the last run', async () => {
    await use({ train: heavy() }, async (session) => {
      await session.run('train', { inputs: batch(0) });
      const times = session.profile('train');
      expect(times.map(({ kernel }) => kernel)).to.deep.equal(
        session.program('train').ops.map(({ kernel }) => kernel),
      );
      expect(times[0]?.kernel).to.equal('conv2d_forward');
      expect(times.every(({ nanoseconds }) => nanoseconds > 0)).to.equal(true);
    });
  });

  it('auto says which backend it took and why', async () => {
    const session = await createSession({ programs: { main: affine(1) } });
    const { backend, reason } = session;
    session.dispose();
    if (backend === 'cpu') expect(reason).to.have.length.above(3);
    else expect(reason).to.equal('');
  });
});

function batch(step: number): Record<string, Float32Array> {
  const random = seeded(`batch ${String(step)}`);
  return {
    x: Float32Array.from(normal(random, 16 * 32 * 28 * 28)),
    target: Float32Array.from(normal(random, 160)),
    hyper: hyperParameters(1e-3, step),
  };
}

describe('session: event loop', () => {
  it('a 5 ms timer keeps ticking during a second of training', async function () {
    this.retries(2); // other processes may take the cores away
    await use({ train: heavy() }, async (session) => {
      const inputs = batch(0);
      await session.run('train', { inputs });
      let last = performance.now();
      let worst = 0;
      let ticks = 0;
      const timer = setInterval(() => {
        const now = performance.now();
        worst = Math.max(worst, now - last);
        last = now;
        ticks++;
      }, 5);
      const end = performance.now() + 1000;
      const steps = 4;
      while (performance.now() < end) {
        const pending = Array.from({ length: steps }, () => session.run('train', { inputs }));
        await Promise.all(pending);
      }
      clearInterval(timer);
      expect(ticks).to.be.above(40);
      expect(worst, 'longest gap in ms').to.be.below(50);
    });
  });
});
