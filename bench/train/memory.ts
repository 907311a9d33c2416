// Peak memory of our training step in a process of its own: node --import tsx/esm memory.ts SETTING
// THREADS. What training adds is counted from a process that holds the batch and has trained a small
// network: its code is compiled, its threads run. So it is for the peer (torch_train.py), whose
// libraries are likewise not counted. Features are one, weights as the session has them: zero.
import { readFileSync, writeFileSync } from 'node:fs';
import { sizeOf } from '../../lib/engine/tensor.js';
import { Ours } from './ours.js';
import { SETTINGS, settingOf, type Setting } from './settings.js';
import type { Batch } from '../../lib/explainer/trainer.js';

const STEPS = 3;
const WARM_UP_STEPS = 100;
const WARM_UP = settingOf('warm-up', { channels: 8, batch: 2, targets: [16, 16], side: 6, bar: 1 });

function memoryBytes(field: 'VmHWM' | 'VmRSS'): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) * 1024;
}

/** From now on VmHWM is the peak since now. */
function resetPeak(): void {
  writeFileSync('/proc/self/clear_refs', '5');
}

function batchOf({ batch, spec }: Setting): Batch {
  const features = sizeOf([batch, spec.channels, spec.height, spec.width]);
  return {
    features: new Float32Array(features).fill(1),
    targets: spec.targets.map(({ size }) => new Float32Array(batch * size).fill(1)),
    bypass: [],
    output: undefined,
  };
}

async function train(setting: Setting, batch: Batch, steps: number): Promise<Ours> {
  const ours = await Ours.create(setting, batch, { threads: Number(threads) });
  for (let i = 0; i < steps; i++) await ours.step();
  return ours;
}

const [name, threads] = process.argv.slice(2);
const setting = SETTINGS.find((each) => each.name === name);
if (!setting) throw new Error(`no setting ${String(name)}`);
(await train(WARM_UP, batchOf(WARM_UP), WARM_UP_STEPS)).dispose();
const batch = batchOf(setting);
resetPeak();
const before = memoryBytes('VmRSS');
const ours = await train(setting, batch, STEPS);
const { arenaBytes, scratchBytes } = ours.session.info();
const processBytes = memoryBytes('VmHWM');
const peakBytes = processBytes - before;
console.log(JSON.stringify({ peakBytes, processBytes, arenaBytes, scratchBytes }));
ours.dispose();
