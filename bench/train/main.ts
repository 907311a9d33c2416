// npm run bench -- train [--setting NAME] [--threads T] [--rounds R] [--accuracy fast]: one training step
// of the explainer on the CPU, ours and PyTorch's in turn, with what each call of ours takes.
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ACCURACIES } from '../../lib/binding.js';
import { checkPeer, drawStart, type Agreement, type Start } from './compare.js';
import { describeMachine, measurePeak, type Peak } from './machine.js';
import { alternate, median, Profile, torchBody, type Body, type Sample } from './measure.js';
import { Ours } from './ours.js';
import { findTorch, lastJson, torchMemory, torchPeer, type Memory, type Peer } from './peer.js';
import { printSetting, writeResults, type OurMemory, type Result } from './report.js';
import { SETTINGS, type Setting } from './settings.js';

const VARIANTS = ['eager', 'channels_last'];
const OURS = 'partlens';

const { values: flags } = parseArgs({
  args: process.argv.slice(3),
  options: {
    setting: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    rounds: { type: 'string', default: '15' },
    accuracy: { type: 'string', default: 'fast' },
  },
});
const threads = Number(flags.threads);
const accuracy = ACCURACIES.find((each) => each === flags.accuracy) ?? 'fast';
const chosen = SETTINGS.filter(({ name }) => name === (flags.setting ?? name));
if (accuracy !== flags.accuracy || chosen.length === 0) {
  const names = SETTINGS.map(({ name }) => name).join(', ');
  throw new Error(`--accuracy is one of ${ACCURACIES.join(', ')}; --setting of ${names}`);
}
const before = measurePeak(threads);
const python = findTorch();
if (python === undefined) {
  console.log('torch is not installed (Debian: apt-get install python3-torch): ours alone.');
}

function ourMemory(name: string): OurMemory {
  const program = fileURLToPath(new URL('memory.ts', import.meta.url));
  const args = ['--import', 'tsx/esm', program, name, String(threads)];
  return lastJson(spawnSync(process.execPath, args, { encoding: 'utf8' })) as OurMemory;
}

/** Checks each variant of PyTorch against our first step, then adds it to what is timed. */
async function addTorch(
  peer: Peer,
  start: Start,
  bodies: Map<string, Body>,
): Promise<Record<string, Agreement>> {
  const agreement: Record<string, Agreement> = {};
  for (const variant of VARIANTS) {
    agreement[`torch ${variant}`] = await checkPeer(peer, variant, start);
    bodies.set(`torch ${variant}`, torchBody(peer, variant));
  }
  return agreement;
}

async function measure(setting: Setting, folder: string): Promise<Result> {
  const start = await drawStart(setting, folder, { threads, accuracy });
  const ours = await Ours.create(setting, start.batch, { threads, accuracy });
  const peer = python && torchPeer(python, start.tensors, { setting: setting.name, threads });
  try {
    await ours.start(start.weights);
    const profile = new Profile(ours);
    const bodies = new Map<string, Body>([[OURS, profile.body]]);
    const agreement = peer ? await addTorch(peer, start, bodies) : {};
    const samples = await alternate(bodies, Number(flags.rounds));
    const memory: Record<string, Memory> = { [OURS]: ourMemory(setting.name) };
    if (python) memory['torch eager'] = torchMemory(python, { setting: setting.name, threads });
    return {
      setting: setting.name,
      bar: setting.bar,
      peers: peer ? await peer.ask<Record<string, unknown>>('start eager') : {},
      agreement,
      rows: [...samples].map(([name, found]) => rowOf(name, found, samples.get(OURS) ?? [])),
      memory,
      calls: profile.calls({ fast: 4, high: 2, direct: 0 }[accuracy]),
      ...ours.session.info(),
      machine: describeMachine(),
      peak: best(before, measurePeak(threads)),
    };
  } finally {
    ours.dispose();
    if (peer) peer.close();
  }
}

/** The machine's rates before and after: what else ran on it lowers them. */
function best(a: Peak, b: Peak): Peak {
  return { gflops: Math.max(a.gflops, b.gflops), gbs: Math.max(a.gbs, b.gbs) };
}

/** Medians, and the median of the ratios of what ran one after the other. */
function rowOf(name: string, found: Sample[], own: Sample[]): Result['rows'][number] {
  return {
    name,
    ms: median(found.map(({ ms }) => ms)),
    cpuMs: median(found.map(({ cpuMs }) => cpuMs)),
    ratio: median(found.map(({ ms }, i) => ms / (own[i]?.ms ?? NaN))),
    cpuRatio: median(found.map(({ cpuMs }, i) => cpuMs / (own[i]?.cpuMs ?? NaN))),
    samples: found.map(({ ms }) => ms),
  };
}

const folder = await mkdtemp(join(tmpdir(), 'partlens-bench-'));
try {
  for (const setting of chosen) {
    const result = await measure(setting, folder);
    printSetting(result);
    await writeResults(result);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
