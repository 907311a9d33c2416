// Peak memory of our training step in a process of its own: node --import tsx/esm memory.ts SETTING
// THREADS. Weights and features are zero, as they are for the peer.
import { readFileSync } from 'node:fs';
import { loadBinding } from '../../lib/binding.js';
import { sizeOf } from '../../lib/tensor.js';
import { Ours } from './ours.js';
import { SETTINGS } from './settings.js';

const STEPS = 3;

function memoryBytes(field: 'VmHWM' | 'VmRSS'): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) * 1024;
}

const [name, threads] = process.argv.slice(2);
const setting = SETTINGS.find((each) => each.name === name);
if (!setting) throw new Error(`no setting ${String(name)}`);
loadBinding();
const before = memoryBytes('VmRSS');
const { batch, spec } = setting;
const features = new Float32Array(sizeOf([batch, spec.channels, spec.side, spec.side]));
const targets = spec.targets.map(({ size }) => new Float32Array(batch * size));
const ours = await Ours.create(setting, { features, targets }, { threads: Number(threads) });
for (let i = 0; i < STEPS; i++) await ours.step();
const { arenaBytes, scratchBytes } = ours.session.info();
const processBytes = memoryBytes('VmHWM');
const peakBytes = processBytes - before;
console.log(JSON.stringify({ peakBytes, processBytes, arenaBytes, scratchBytes }));
ours.dispose();
