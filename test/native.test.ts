import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { checkKernels, loadBinding, wrapped, type NativeSession } from '../lib/engine/binding.js';
import { registry } from '../lib/engine/graph.js';
import { ACTIVATIONS, BINARIES } from '../lib/engine/ops/index.js';
import { type PlannedOp, type Program } from '../lib/engine/plan.js';
import { everyOp } from './support/every_op.js';
import type { FuzzReport } from './support/fuzz_program.js';
import { compile, convolution, encode, run, use } from './support/native.js';
import { failure } from './support/performer.js';
import { moduleFile } from './support/source.js';

const binding = loadBinding();

async function refuses(session: NativeSession, words: Int32Array, text: RegExp): Promise<void> {
  await failure('E_INTERNAL', text, () => wrapped(() => session.addProgram(words)));
}

describe('native: description', () => {
  it('kinds.def has the functions in the order of lib/engine/ops', () => {
    const text = readFileSync(
      fileURLToPath(new URL('../native/kinds.def', import.meta.url)),
      'utf8',
    );
    const names = (list: string): (string | undefined)[] =>
      [...text.matchAll(new RegExp(`^${list}\\((\\w+)\\)$`, 'gm'))].map(([, name]) => name);
    expect(names('ACTIVATION')).to.deep.equal([...ACTIVATIONS]);
    expect(names('BINARY')).to.deep.equal([...BINARIES]);
  });

  it('signatures.def says what lib/engine/ops says, for every kernel', () => {
    const file = fileURLToPath(new URL('../native/signatures.def', import.meta.url));
    const lines = readFileSync(file, 'utf8').matchAll(/^SIGNATURE\((\w+), "(.*)"\)$/gm);
    const native = Object.fromEntries(
      Array.from(lines, ([, name = '', types = '']) => [name, types]),
    );
    const ops = [...registry.values()].map(({ name, inputs, outputs }) => {
      return [name, [...Object.values(inputs), ...Object.values(outputs)].join(', ')];
    });
    expect(native).to.deep.equal(Object.fromEntries(ops));
  });

  it('a kernel that is missing or takes something else is E_INTERNAL', async () => {
    const op = registry.get('scale_forward');
    if (!op) throw new Error('no op');
    const ops = new Map([[op.name, op]]);
    const right = { name: op.name, inputs: '(x)', outputs: '(y)', attrs: 'ScaleAttrs' };
    const attrs = { ScaleAttrs: 'f32 factor;i32 round;', Other: 'i32 factor;i32 round;' };
    checkKernels([right], attrs, ops);
    const wrong = [
      [],
      [{ ...right, inputs: '(x, s)' }],
      [{ ...right, outputs: '(z)' }],
      [{ ...right, attrs: 'Other' }],
    ];
    for (const kernels of wrong) {
      await failure(
        'E_INTERNAL',
        /does not fit lib\/: kernel scale_forward .*\nBuild or install it anew/,
        () => {
          checkKernels(kernels, attrs, ops);
        },
      );
    }
  });

  it('devices name their kernels and memory, and say why one is missing', () => {
    const [cpu, cuda] = binding.devices();
    expect(cpu).to.include({ backend: 'cpu', available: true, reason: '' });
    expect(cpu?.threads).to.be.at.least(1);
    expect(cpu?.memoryBytes).to.be.above(2 ** 27);
    expect(cuda?.backend).to.equal('cuda');
    if (!cuda?.available) expect(cuda?.reason).to.have.length.above(3);
  });
});

describe('native: programs', () => {
  const whole = compile(convolution());

  it('the right one is taken', async () => {
    await use(whole.arenaBytes, (session) => {
      expect(session.addProgram(whole.words)).to.equal(0);
      expect(session.addProgram(whole.words)).to.equal(1);
    });
  });

  it('garbage is refused', async () => {
    await use(whole.arenaBytes, async (session) => {
      const [magic = 0, version = 0] = whole.words;
      const garbage = [
        [],
        [0],
        [magic],
        [magic, version],
        [magic, 2, 0, 0],
        [magic, version, -1, 0],
        [magic, version, 0, 2 ** 31 - 1],
        [magic, version, 2 ** 31 - 1, 2 ** 31 - 1],
        [...whole.words, 0],
        Array.from({ length: 500 }, (_, i) => Math.imul(i, 0x9e3779b1)),
      ];
      for (const words of garbage) await refuses(session, Int32Array.from(words), /^\[program\]/);
    });
  });

  it('every truncation is refused', async () => {
    await use(whole.arenaBytes, async (session) => {
      for (let length = 0; length < whole.words.length; length++) {
        await refuses(session, whole.words.slice(0, length), /^\[program\]/);
      }
    });
  });

  it('a program for a larger arena is refused', async () => {
    await use(whole.arenaBytes - 64, async (session) => {
      await refuses(session, whole.words, /a slot lies outside the arena/);
    });
  });

  /** The conv2d op of a fresh copy of the program, and its slots. */
  const changes: [string, RegExp, (program: Program, conv: PlannedOp, pool: PlannedOp) => void][] =
    [
      ['another kernel', /maxpool2d_forward/, (_, conv) => (conv.kernel = 'maxpool2d_forward')],
      ['a slot too few', /conv2d_forward/, (_, conv) => conv.slots.pop()],
      ['a slot that is not there', /a slot in -1\.\./, (_, conv) => (conv.slots[0] = 99)],
      [
        'no weight',
        /conv2d_forward expects conv_weight O C R S for w/,
        (_, conv) => (conv.slots[1] = -1),
      ],
      [
        'maps as weight',
        /conv2d_forward expects conv_weight/,
        (_, conv) => {
          conv.slots[1] = conv.slots[0] ?? 0;
        },
      ],
      ['fewer attributes', /too few attributes for conv2d_forward/, (_, conv) => conv.attrs.pop()],
      ['no stride', /conv2d_forward has a wrong stride/, (_, conv) => setAttr(conv, 0, 0)],
      ['an endless stride', /conv2d_forward reaches too far/, (_, conv) => setAttr(conv, 0, 65536)],
      ['an unknown end', /an unknown function/, (_, conv) => setAttr(conv, 7, 99)],
      ['negative padding', /conv2d_forward has a wrong stride/, (_, conv) => setAttr(conv, 2, -1)],
      [
        'a window beside the map',
        /maxpool2d_forward has a window beside/,
        (_, __, pool) => {
          setAttr(pool, 2, 5);
        },
      ],
      [
        'other channels',
        /conv2d_forward expects/,
        (program, conv) => {
          resize(program, conv.slots[0], 1, 2);
        },
      ],
      [
        'another batch',
        /conv2d_forward expects/,
        (program, conv) => {
          resize(program, conv.slots[0], 0, 1);
        },
      ],
      ['a size of 0', /a size below 1/, (program, conv) => resize(program, conv.slots[0], 2, 0)],
      [
        'a size beyond all memory',
        /too large/,
        (program, conv) => {
          resize(program, conv.slots[0], 2, 2 ** 31 - 1);
        },
      ],
      [
        'integers for floats',
        /conv2d_forward expects/,
        (program, conv) => {
          Object.assign(program.slots[conv.slots[0] ?? -1] ?? {}, { dtype: 'i32' });
        },
      ],
      [
        'an output over its input',
        /conv2d_forward y overlaps x/,
        (program, conv) => {
          const [x, y] = [program.slots[conv.slots[0] ?? -1], program.slots[conv.slots[4] ?? -1]];
          if (x && y) y.offset = x.offset;
        },
      ],
      [
        'an offset before the arena',
        /outside the arena/,
        (program, conv) => {
          Object.assign(program.slots[conv.slots[0] ?? -1] ?? {}, { offset: -64 });
        },
      ],
    ];
  for (const [what, text, change] of changes) {
    it(`${what} is refused`, async () => {
      const { program, arenaBytes } = compile(convolution());
      const [conv, pool] = program.ops;
      if (!conv || !pool) throw new Error('no ops');
      change(program, conv, pool);
      await use(arenaBytes, (session) => refuses(session, encode(program), text));
    });
  }

  it('an update outside the memory of its input is refused', async () => {
    const { program, arenaBytes } = compile(everyOp());
    const step = program.ops.find(({ kernel }) => kernel === 'sgd_step');
    const slot = program.slots[step?.slots[4] ?? -1];
    if (!slot) throw new Error('no step');
    slot.offset = arenaBytes;
    await use(arenaBytes + 2 ** 20, (session) =>
      refuses(session, encode(program), /sgd_step w_out is not in the memory of w/),
    );
  });

  it('thousands of mutations are refused or run, and nothing falls over', async () => {
    const { code, signal, stdout, stderr } = await run(moduleFile('test/support/fuzz_program'), [
      '4000',
      '1',
    ]);
    expect({ code, signal }, stderr).to.deep.equal({ code: 0, signal: null });
    const report = JSON.parse(stdout) as FuzzReport;
    expect(report.unexpected).to.deep.equal([]);
    expect(report.refused).to.be.above(2000);
    expect(report.ran).to.be.above(100);
  });

  it('the fuzzed program holds every kernel', () => {
    const used = new Set(compile(everyOp()).program.ops.map(({ kernel }) => kernel));
    expect([...registry.keys()].filter((name) => !used.has(name))).to.deep.equal([]);
  });
});

function setAttr(op: PlannedOp, index: number, value: number): void {
  const attr = op.attrs[index];
  if (attr) attr.value = value;
}

function resize(program: Program, slot: number | undefined, axis: number, size: number): void {
  const found = program.slots[slot ?? -1];
  if (found) found.shape = found.shape.map((old, i) => (i === axis ? size : old));
}
