// Run by native.test.ts in a process of its own: feeds mutated and truncated programs to the addon,
// runs those that it takes, and prints how many it refused. A crash is a crash of this process alone.
import { loadBinding } from '../../lib/engine/binding.js';
import { registry } from '../../lib/engine/graph.js';
import { conv2d } from '../../lib/engine/ops/index.js';
import { encodeProgram, planPrograms } from '../../lib/engine/plan.js';
import type { ValueType } from '../../lib/engine/tensor.js';
import { Random } from '../../lib/random.js';
import { everyOp } from './every_op.js';

export interface FuzzReport {
  refused: number;
  ran: number;
  /** Errors that are not E_INTERNAL from addProgram, and failed runs that are not E_MEMORY. */
  unexpected: string[];
}

const HEADER = 4;
const SLOT = 11;

/** Words near what a field may hold, and far from it. */
function word(random: Random, old: number): number {
  const few = [
    0,
    1,
    -1,
    2,
    3,
    15,
    16,
    17,
    64,
    255,
    2 ** 15,
    2 ** 16,
    2 ** 30,
    2 ** 31 - 1,
    -(2 ** 31),
  ];
  const kind = random.int(4);
  if (kind === 0) return few[random.int(few.length)] ?? 0;
  if (kind === 1) return old + random.int(5) - 2;
  if (kind === 2) return old ^ (1 << random.int(32));
  return random.int(60);
}

function mutate(words: Int32Array, random: Random): Int32Array {
  const changed = words.slice(0, random.int(8) === 0 ? 1 + random.int(words.length) : words.length);
  const slots = words[2] ?? 0;
  const opsBegin = HEADER + SLOT * slots;
  for (let i = 1 + random.int(3); i > 0; i--) {
    // half of the changes in the ops: kernels, slots, attributes
    const inOps = random.int(2) === 0 && changed.length > opsBegin;
    const at = inOps
      ? opsBegin + random.int(changed.length - opsBegin)
      : random.int(changed.length);
    changed[at] = word(random, changed[at] ?? 0);
  }
  return changed;
}

export async function fuzz(count: number, seed: number): Promise<FuzzReport> {
  const binding = loadBinding();
  const graph = everyOp();
  const w = graph.constant(0.1, [6, 3, 3, 3], { layout: 'conv_weight' });
  graph.output('of_picture', conv2d(graph.input('picture', [2, 3, 9, 8]), w, undefined));
  const bytesOf = (type: ValueType): number => binding.bytesOf('cpu', type);
  const plan = planPrograms(new Map([['main', graph]]), bytesOf, { pictures: true });
  const program = plan.programs.get('main');
  if (!program) throw new Error('no program');
  const words = encodeProgram(program, binding.kernelIndex('cpu', registry));
  const { arenaBytes } = plan;
  const random = new Random(seed, 'fuzz');
  const report: FuzzReport = { refused: 0, ran: 0, unexpected: [] };
  for (let done = 0; done < count; done += 100) {
    const session = binding.createSession({ backend: 'cpu', threads: 2, arenaBytes });
    for (let i = 0; i < 100; i++) {
      const mutant = mutate(words, random);
      try {
        const id = session.addProgram(mutant);
        await session.run(id, new Int32Array(), [], new Int32Array());
        report.ran++;
      } catch (error) {
        const { code, message } = error as { code?: string; message: string };
        report.refused++;
        if (code !== 'E_INTERNAL' && code !== 'E_MEMORY') report.unexpected.push(message);
      }
    }
    session.dispose();
  }
  return report;
}

const [count = '2000', seed = '1'] = process.argv.slice(2);
console.log(JSON.stringify(await fuzz(Number(count), Number(seed))));
