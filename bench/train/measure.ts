import { setTimeout as sleep } from 'node:timers/promises';
import type { Ours } from './ours.js';
import type { Peer } from './peer.js';
import { workOf, type Work } from './operations.js';

/** Threads of the one that ran before have gone to sleep after this. */
const PAUSE_MS = 150;
/** One sample takes at least this long: several steps where they are short. */
const SAMPLE_MS = 100;

export interface Sample {
  /** Wall time and process CPU time of one step. */
  ms: number;
  cpuMs: number;
}

export type Body = (count: number) => Promise<Sample>;

/** A body that takes longer is sampled once. */
const SLOW_MS = 3000;

/** Samples of each body in turn, so that drift of the machine meets all alike. */
export async function alternate(
  bodies: ReadonlyMap<string, Body>,
  rounds: number,
): Promise<Map<string, Sample[]>> {
  const counts = new Map<string, number>();
  for (const [name, body] of bodies) {
    const warmUp = await body(1);
    const { ms } = warmUp.ms > SLOW_MS ? warmUp : await body(1);
    counts.set(name, Math.max(1, Math.ceil(SAMPLE_MS / ms)));
  }
  const found = new Map<string, Sample[]>([...bodies.keys()].map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, body] of bodies) {
      const samples = found.get(name) ?? [];
      if ((samples[0]?.ms ?? 0) > SLOW_MS) continue;
      await sleep(PAUSE_MS);
      samples.push(await body(counts.get(name) ?? 1));
    }
  }
  return found;
}

/** Wall and CPU time of one run of several. */
export async function timed(count: number, run: () => Promise<unknown>): Promise<Sample> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  for (let i = 0; i < count; i++) await run();
  const ms = (performance.now() - start) / count;
  const { user, system } = process.cpuUsage(cpu);
  return { ms, cpuMs: (user + system) / 1e3 / count };
}

/** Time of each call of the program, over all steps that `body` ran. */
export class Profile {
  readonly #times: number[][] = [];

  constructor(readonly ours: Ours) {}

  readonly body: Body = async (count) => {
    const sample = await timed(count, () => this.ours.step());
    this.ours.session.profile('train').forEach(({ nanoseconds }, i) => {
      (this.#times[i] ??= []).push(nanoseconds / 1e6);
    });
    return sample;
  };

  /** Kernel, work and median milliseconds of each call; equal calls as one row, with their number. */
  calls(winograd: number): CallTime[] {
    const program = this.ours.session.program('train');
    const rows = new Map<string, CallTime>();
    program.ops.forEach((op, i) => {
      const work = workOf(program, op, winograd);
      const key = `${op.kernel} ${work.shapes}`;
      const row = rows.get(key) ?? { kernel: op.kernel, ...work, calls: 0, ms: 0 };
      row.calls++;
      row.ms += median(this.#times[i] ?? []);
      rows.set(key, row);
    });
    return [...rows.values()].sort((a, b) => b.ms - a.ms);
  }
}

/** `ms`: of all calls together. */
export interface CallTime extends Work {
  kernel: string;
  calls: number;
  ms: number;
}

export function peerBody(peer: Peer, variant: string): Body {
  return async (count) => {
    await peer.ask(`start ${variant}`);
    return peer.ask<Sample>(`step ${String(count)}`);
  };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? NaN;
  return low + ((sorted[Math.ceil(at)] ?? NaN) - low) * (at - Math.floor(at));
}
