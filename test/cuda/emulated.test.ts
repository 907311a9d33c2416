import { expect } from 'chai';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { finished, opTests, type Finished } from '../support/op_tests.js';
import { PLANTED_BUGS, type PlantedBug } from './planted_bugs.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

interface Builder {
  canEmulate: () => boolean;
  buildEmulated: (variant: string) => Promise<string>;
  buildChanged: (
    variant: string,
    change: { changed: string; source: string; target: string },
  ) => Promise<void>;
}
const { canEmulate, buildEmulated, buildChanged } = (await import(
  path.join(root, 'scripts/build_emulated.mjs')
)) as Builder;

/** Other legal orders of threads, blocks and copies than the default. */
const ORDERS: readonly NodeJS.ProcessEnv[] = [
  { EMULATOR_ORDER: 'reverse' },
  { EMULATOR_ORDER: 'random', EMULATOR_SEED: '1' },
  { EMULATOR_ORDER: 'random', EMULATOR_SEED: '2' },
  { EMULATOR_COPIES: 'early' },
];

const SANITIZER: Record<string, NodeJS.ProcessEnv> = {
  plain: {},
  asan: { ASAN_OPTIONS: 'detect_leaks=0' },
  tsan: { EMULATOR_THREADS: '2' },
};

/** Every kernel, or one, on small shapes. */
async function smallShapes(
  variant: string,
  {
    library,
    kernel,
    env = {},
  }: { library?: string; kernel?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Finished> {
  const folder = await buildEmulated(variant);
  const args = [library ?? path.join(folder, 'libpartlens_cuda.so'), ...(kernel ? [kernel] : [])];
  return finished(path.join(folder, 'small_shapes'), args, { ...SANITIZER[variant], ...env });
}

function skipWithout(context: Mocha.Context): void {
  if (canEmulate()) return;
  console.log('      skipped: the emulator needs Linux on x86-64 and g++');
  context.skip();
}

describe('CUDA kernels, emulated', function () {
  this.timeout(1_200_000);

  it('op tests, golden fixtures, fusion and determinism on the CUDA backend', async function () {
    skipWithout(this);
    const folder = await buildEmulated('plain');
    const env = {
      PARTLENS_CUDA_LIBRARY: path.join(folder, 'libpartlens_cuda.so'),
      PARTLENS_TEST_BACKEND: 'cuda',
    };
    const [ops, whole] = await Promise.all([
      opTests(env),
      opTests(env, [
        'golden/golden.test.ts',
        'determinism.test.ts',
        'engine/fuse.test.ts',
        'engine/fuse_convolution.test.ts',
        'engine/fuse_expand.test.ts',
      ]),
    ]);
    if (ops.code !== 0 || whole.code !== 0) throw new Error(ops.output + whole.output);
    expect(ops.output).to.match(/[1-9]\d\d passing/);
  });

  it('small shapes: every kernel, the same bits in every order', async function () {
    skipWithout(this);
    const first = await smallShapes('plain');
    if (first.code !== 0) throw new Error(first.output);
    expect(first.output).to.match(/[1-9]\d+ passed, 0 failed/);
    for (const env of ORDERS) {
      expect((await smallShapes('plain', { env })).output, JSON.stringify(env)).to.equal(
        first.output,
      );
    }
  });

  for (const variant of ['asan', 'tsan']) {
    it(`small shapes: no report of ${variant}`, async function () {
      skipWithout(this);
      const { code, output } = await smallShapes(variant);
      if (code !== 0) throw new Error(output.slice(0, 4000));
      expect(output).to.match(/[1-9]\d+ passed, 0 failed/);
    });
  }
});

/** A library with the bug, in a folder that the caller removes. */
async function plant(bug: PlantedBug, variant: string, folder: string): Promise<string> {
  await cp(path.join(root, 'cuda'), path.join(folder, 'cuda'), { recursive: true });
  const file = path.join(folder, 'cuda', bug.file);
  const text = await readFile(file, 'utf8');
  expect(text.split(bug.find).length - 1, `places of ${JSON.stringify(bug.find)}`).to.equal(1);
  await writeFile(file, text.replace(bug.find, bug.replace));
  const source = path.join('cuda', bug.object);
  await buildChanged(variant, { changed: folder, source, target: folder });
  return path.join(folder, 'libpartlens_cuda.so');
}

/** What the bug's detector finds; empty for nothing. */
async function detected(bug: PlantedBug, folder: string): Promise<string> {
  const variant = bug.detector === 'asan' || bug.detector === 'tsan' ? bug.detector : 'plain';
  const given = { library: await plant(bug, variant, folder), kernel: bug.kernel };
  const env = { TSAN_OPTIONS: 'halt_on_error=1' }; // one report is enough
  const first = await smallShapes(variant, { ...given, env });
  if (bug.detector === 'asan') return /AddressSanitizer: [a-z-]+/.exec(first.output)?.[0] ?? '';
  if (bug.detector === 'tsan') return /ThreadSanitizer: data race/.exec(first.output)?.[0] ?? '';
  if (bug.detector === 'rule') return bug.says?.exec(first.output)?.[0] ?? '';
  if (first.code !== 0) return first.output;
  for (const env of ORDERS) {
    const other = await smallShapes(variant, { ...given, env });
    if (other.output !== first.output) return other.output;
  }
  return '';
}

/** The same in a folder of its own; throws only when it is called, so that nobody need wait for it. */
async function searched(bug: PlantedBug): Promise<() => string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'partlens-bug-'));
  try {
    const found = await detected(bug, folder);
    return () => found;
  } catch (error) {
    return () => {
      throw error;
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe('planted bugs in CUDA kernels are found', function () {
  this.timeout(1_200_000);
  const searches: Promise<() => string>[] = [];

  before(async () => {
    if (!canEmulate()) return;
    for (const variant of Object.keys(SANITIZER)) await buildEmulated(variant);
    const width = availableParallelism(); // so many at once
    for (const bug of PLANTED_BUGS) {
      const earlier = searches.at(-width) ?? Promise.resolve();
      searches.push(earlier.then(() => searched(bug)));
    }
  });

  PLANTED_BUGS.forEach((bug, i) => {
    it(`${bug.name}: ${bug.detector}`, async function () {
      skipWithout(this);
      const found = await searches[i];
      expect(found?.()).to.be.a('string').and.not.equal('');
    });
  });
});
