// npm run bench -- curve: 500 training steps with Winograd F(4x4) and with direct convolution from the same
// weights, and with F(4x4) from another seed. The first two may differ by less than the seeds do.
import { availableParallelism } from 'node:os';
import type { Accuracy } from '../../lib/engine/binding.js';
import type { Batch } from '../../lib/explainer/trainer.js';
import { Ours } from './ours.js';
import { table, writeTable } from './report.js';
import { drawBatch, SETTINGS, type Setting } from './settings.js';

const STEPS = 500;
const BATCHES = 8; // that take turns
const SHOWN = [1, 10, 50, 100, 200, 300, 400, 500];

/** Reconstruction loss of each step: the sum over targets. */
async function train(
  setting: Setting,
  batches: readonly Batch[],
  accuracy: Accuracy,
): Promise<number[]> {
  const [first] = batches;
  if (!first) throw new Error('no batch');
  const ours = await Ours.create(setting, first, { threads: availableParallelism(), accuracy });
  await ours.start(await ours.drawWeights());
  const losses: number[] = [];
  for (let i = 0; i < STEPS; i++) {
    const found = await ours.step(batches[i % BATCHES]);
    losses.push((found['rec_1'] ?? NaN) + (found['rec_2'] ?? NaN));
  }
  ours.dispose();
  return losses;
}

/** Root mean square of the relative difference of two curves. */
function distance(a: readonly number[], b: readonly number[]): number {
  const squares = a.map((value, i) => (value / (b[i] ?? NaN) - 1) ** 2);
  return Math.sqrt(squares.reduce((sum, value) => sum + value, 0) / squares.length);
}

const setting = SETTINGS.find(({ name }) => name === 'demo');
if (!setting) throw new Error('no setting demo');
const batches = Array.from({ length: BATCHES }, (_, i) => drawBatch(setting, 1 + i));
const seeded = (seed: number): Setting => ({ ...setting, options: { ...setting.options, seed } });
const [fast, direct, other] = [
  await train(seeded(1), batches, 'fast'),
  await train(seeded(1), batches, 'direct'),
  await train(seeded(2), batches, 'fast'),
];
const [ofAccuracy, ofSeed] = [distance(fast, direct), distance(fast, other)];
const rows = SHOWN.map((step) => [
  step,
  ...[fast, direct, other].map((all) => (all[step - 1] ?? NaN).toFixed(5)),
]);
const text = [
  table('step|fast, seed 1|direct, seed 1|fast, seed 2', rows),
  `Root mean square of the relative difference over ${String(STEPS)} steps: ${ofAccuracy.toExponential(1)} ` +
    `between fast and direct, ${ofSeed.toExponential(1)} between two seeds.`,
].join('\n\n');
const about = 'Winograd F(4x4) and direct convolution: reconstruction loss of the demo setting';
console.log(await writeTable('curve', about, text));
if (!(ofAccuracy < ofSeed)) {
  console.error('F(4x4) and direct convolution differ by more than two seeds do');
  process.exitCode = 1;
}
