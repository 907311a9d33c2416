import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lastJson } from './peer.js';

/** Best rates that were measured: multiply-adds from registers, memory beyond the caches. */
export interface Peak {
  gflops: number;
  gbs: number;
}

/** Compiles and runs peak.cpp. */
export function measurePeak(threads: number): Peak {
  const source = fileURLToPath(new URL('peak.cpp', import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), 'partlens-peak-'));
  try {
    const program = join(folder, 'peak');
    const flags = ['-O3', '-march=native', '-ffp-contract=fast', '-pthread'];
    const built = spawnSync('g++', [...flags, source, '-o', program], { encoding: 'utf8' });
    if (built.status !== 0) throw new Error(`g++ failed on peak.cpp: ${built.stderr}`);
    return lastJson(spawnSync(program, [String(threads)], { encoding: 'utf8' })) as Peak;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What the results depend on. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  node: string;
  commit: string;
  date: string;
}

export function describeMachine(): Machine {
  const cwd = fileURLToPath(new URL('.', import.meta.url));
  const git = (...args: string[]): string =>
    spawnSync('git', args, { encoding: 'utf8', cwd }).stdout.trim();
  const changed = git('status', '--porcelain', '--', '../../lib', '../../native') !== '';
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    commit: git('rev-parse', '--short', 'HEAD') + (changed ? ' with changes' : ''),
    date: new Date().toISOString().slice(0, 10),
  };
}

/** Name of the files of a machine's results. */
export function fileStem({ cpu, cores }: Machine, isa: string): string {
  const words = `${cpu} ${isa} ${String(cores)} cores`.toLowerCase();
  return words.replace(/\(r\)|\(tm\)|processor/g, '').replace(/[^a-z0-9]+/g, '-');
}
