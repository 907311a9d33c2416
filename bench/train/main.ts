// npm run bench -- train [--setting NAME] [--threads T] [--rounds R] [--accuracy fast]: one training step
// of the explainer on the CPU, ours and PyTorch's in turn, with what each call of ours takes.
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ACCURACIES } from '../../lib/engine/binding.js';
import { checkPeer, drawStart, type Start } from './compare.js';
import { describeMachine, measurePeak, type Peak } from './machine.js';
import { createLayer, layerBody, peerLayerBody } from './layer.js';
import { alternate, peerBody, Profile, timed, type Body } from './measure.js';
import { Ours } from './ours.js';
import {
  findTorch,
  PeerStopped,
  lastJson,
  tfjsPeer,
  torchMemory,
  torchPeer,
  type Memory,
  type Peer,
} from './peer.js';
import {
  OURS,
  printSetting,
  rowsOf,
  writeResults,
  type OurMemory,
  type Result,
  type Row,
} from './report.js';
import { SETTINGS, withDiversity, type Setting } from './settings.js';

const VARIANTS: Record<string, string[]> = {
  torch: ['eager', 'channels_last'],
  tfjs: ['wasm'],
};

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

/** What is timed beside ours: each peer with its variants, once its first step agrees with ours. */
async function addPeers(
  peers: ReadonlyMap<string, Peer>,
  start: Start,
  bodies: Map<string, Body>,
): Promise<Pick<Result, 'agreement' | 'peers'>> {
  const agreement: Result['agreement'] = {};
  const versions: Result['peers'] = {};
  for (const [name, peer] of peers) {
    for (const variant of VARIANTS[name] ?? []) {
      const full = `${name} ${variant}`;
      try {
        versions[full] = await peer.ask<Result['peers'][string]>(`start ${variant}`);
        agreement[full] = await checkPeer(peer, variant, start);
        bodies.set(full, peerBody(peer, variant));
      } catch (error) {
        if (!(error instanceof PeerStopped)) throw error;
        versions[full] = { ...versions[full], 'left out, since it': error.message };
      }
    }
  }
  return { agreement, peers: versions };
}

function startPeers({ name, options }: Setting, { tensors }: Start): Map<string, Peer> {
  const peers = new Map<string, Peer>();
  if (python) peers.set('torch', torchPeer(python, tensors, { setting: name, threads }));
  const tfjs = tfjsPeer(tensors, options);
  if (tfjs) peers.set('tfjs', tfjs);
  else
    console.log('TensorFlow.js is not installed (npm ci --prefix bench/peers/tfjs): without it.');
  return peers;
}

async function measure(setting: Setting, folder: string): Promise<Result> {
  const start = await drawStart(setting, folder, { threads, accuracy });
  const ours = await Ours.create(setting, start.batch, { threads, accuracy });
  const apart = await Ours.create(withDiversity(setting), start.batch, { threads, accuracy });
  const peers = startPeers(setting, start);
  try {
    for (const each of [ours, apart]) await each.start(start.weights);
    const profile = new Profile(ours);
    const bodies = new Map<string, Body>([
      [OURS, profile.body],
      [`${OURS} with diversity`, (count) => timed(count, () => apart.step())],
    ]);
    const compared = await addPeers(peers, start, bodies);
    const samples = await alternate(bodies, Number(flags.rounds));
    const layer = await measureLayer(setting, peers.get('torch'));
    const memory: Record<string, Memory> = { [OURS]: ourMemory(setting.name) };
    if (python) memory['torch eager'] = torchMemory(python, { setting: setting.name, threads });
    return {
      setting: setting.name,
      bar: setting.bar,
      ...compared,
      rows: rowsOf(samples),
      layer,
      memory,
      calls: profile.calls({ fast: 4, high: 2, direct: 0 }[accuracy]),
      ...ours.session.info(),
      machine: describeMachine(),
      peak: best(before, measurePeak(threads)),
    };
  } finally {
    ours.dispose();
    apart.dispose();
    for (const peer of peers.values()) peer.close();
  }
}

/** The machine's rates before and after: what else ran on it lowers them. */
function best(a: Peak, b: Peak): Peak {
  return { gflops: Math.max(a.gflops, b.gflops), gbs: Math.max(a.gbs, b.gbs) };
}

/** A 3x3 convolution alone, forward and both gradients. */
async function measureLayer(setting: Setting, torch: Peer | undefined): Promise<Row[]> {
  const session = await createLayer(setting, { threads, accuracy });
  const bodies = new Map([[OURS, layerBody(session)]]);
  if (torch) {
    for (const variant of VARIANTS['torch'] ?? []) {
      bodies.set(`torch ${variant}`, peerLayerBody(torch, variant));
    }
  }
  const samples = await alternate(bodies, Number(flags.rounds));
  session.dispose();
  return rowsOf(samples);
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
