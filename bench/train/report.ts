import { existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SessionInfo } from '../../lib/engine/session.js';
import type { Agreement } from './compare.js';
import { describeMachine, fileStem, type Machine, type Peak } from './machine.js';
import { median, type CallTime, type Sample } from './measure.js';
import type { Memory } from './peer.js';
import { SETTINGS } from './settings.js';

export const OURS = 'partlens';

export interface Row {
  name: string;
  ms: number;
  cpuMs: number;
  /** Time over ours. */
  ratio: number;
  cpuRatio: number;
  samples: number[];
}

/** Medians, and the median of the ratios of what ran one after the other. */
export function rowsOf(samples: ReadonlyMap<string, Sample[]>): Row[] {
  const own = samples.get(OURS) ?? [];
  return [...samples].map(([name, found]) => ({
    name,
    ms: median(found.map(({ ms }) => ms)),
    cpuMs: median(found.map(({ cpuMs }) => cpuMs)),
    ratio: median(found.map(({ ms }, i) => ms / (own[i]?.ms ?? NaN))),
    cpuRatio: median(found.map(({ cpuMs }, i) => cpuMs / (own[i]?.cpuMs ?? NaN))),
    samples: found.map(({ ms }) => ms),
  }));
}

/** Everything measured in one setting. */
export interface Result extends SessionInfo {
  setting: string;
  bar: number;
  machine: Machine;
  peak: Peak;
  /** Versions and threads of the peers. */
  peers: Record<string, Record<string, string | number>>;
  agreement: Record<string, Agreement>;
  rows: Row[];
  /** One 3x3 convolution, forward and both gradients. */
  layer: Row[];
  memory: Record<string, Memory>;
  calls: CallTime[];
}

export interface OurMemory extends Memory {
  arenaBytes: number;
  scratchBytes: number;
}

const folder = fileURLToPath(new URL('../results/', import.meta.url));

type Cell = string | number;

export function table(titles: string, rows: Cell[][]): string {
  const names = titles.split('|');
  const lines = [names, names.map((_, i) => (i === 0 ? '---' : '---:')), ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const MIB = 2 ** 20;

export function times(what: string, rows: readonly Row[]): string {
  const cells = rows.map(({ name, ms, cpuMs, ratio, cpuRatio }) => [
    name,
    ms.toFixed(1),
    cpuMs.toFixed(1),
    ratio.toFixed(2),
    cpuRatio.toFixed(2),
  ]);
  return table(`${what}|wall ms|CPU ms|wall / ours|CPU / ours`, cells);
}

function memories({ memory, arenaBytes, scratchBytes }: Result): string {
  const cells = Object.entries(memory).map(([name, { peakBytes, processBytes }]) => [
    name,
    (peakBytes / MIB).toFixed(0),
    (peakBytes / arenaBytes).toFixed(2),
    (peakBytes / (arenaBytes + scratchBytes)).toFixed(2),
    (processBytes / MIB).toFixed(0),
  ]);
  const [planned, workspace] = [arenaBytes, scratchBytes].map((bytes) => (bytes / MIB).toFixed(0));
  const titles =
    'peak memory|of training MiB|over planned|over planned and workspace|of the process MiB';
  const about = `Planned: ${planned ?? ''} MiB, and ${workspace ?? ''} MiB of the kernels' workspace.`;
  return `${table(titles, cells)}\n\n${about}`;
}

/** Share of a peak that a call reaches: the larger of arithmetic and memory. */
export function shareOf({ done, bytes, ms }: CallTime, { gflops, gbs }: Peak): number {
  return Math.max(done / ms / 1e6 / gflops, bytes / ms / 1e6 / gbs);
}

function calls({ calls, peak }: Result): string {
  const all = calls.reduce((sum, { ms }) => sum + ms, 0);
  const cells = calls.map((call) => [
    `${call.kernel} ${call.shapes}`,
    call.calls,
    call.ms.toFixed(3),
    `${((100 * call.ms) / all).toFixed(1)} %`,
    call.operations > 0 ? ((call.operations * call.calls) / call.ms / 1e6).toFixed(0) : '',
    ((call.bytes * call.calls) / call.ms / 1e6).toFixed(1),
    `${(100 * call.calls * shareOf(call, peak)).toFixed(0)} %`,
  ]);
  return table('call|times|ms|of the step|GFLOP/s|GB/s|of the peak', cells);
}

export function markdown(result: Result): string {
  const { setting, machine, peak, isa, threads, accuracy, peers, agreement } = result;
  const checked = Object.entries(agreement).map(
    ([name, { loss, gradient, worst }]) =>
      `${name}: losses to ${loss.toExponential(0)}, gradients to ${gradient.toExponential(0)} (${worst})`,
  );
  return [
    `## ${setting}`,
    `${machine.date}, commit ${machine.commit}, Node.js ${machine.node}, ${isa}, ${String(threads)} threads, accuracy ${accuracy}; ` +
      `measured peak ${peak.gflops.toFixed(0)} GFLOP/s, ${peak.gbs.toFixed(1)} GB/s.`,
    ...Object.entries(peers).map(([name, facts]) => {
      const words = Object.entries(facts).map(([what, value]) => `${what} ${String(value)}`);
      return `- ${name}: ${words.join(', ')}`;
    }),
    checked.length > 0 ? `First step compared before timing. ${checked.join('; ')}.` : '',
    times('step', result.rows),
    times('3x3 layer', result.layer),
    memories(result),
    calls(result),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

export function printSetting(result: Result): void {
  console.log(`${markdown(result)}\n`);
}

/** Puts the setting's result into the files of this machine, in the place of an older one. */
export async function writeResults(result: Result): Promise<void> {
  const stem = join(folder, fileStem(result.machine, result.isa));
  const path = `${stem}.json`;
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Result[]) : [];
  const all = SETTINGS.flatMap(({ name }) =>
    name === result.setting ? [result] : known.filter(({ setting }) => setting === name),
  );
  await mkdir(folder, { recursive: true });
  await writeFile(path, `${JSON.stringify(all, rounded, 1)}\n`);
  await writeFile(`${stem}.md`, `${heading(result)}\n\n${all.map(markdown).join('\n\n')}\n`);
}

function rounded(_: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(5)) : value;
}

function heading({ machine }: Result): string {
  return `# The training step on ${machine.cpu}, ${String(machine.cores)} cores, ${String(machine.memoryGiB)} GiB\n\nMade by \`npm run bench -- train\`; see bench/train/.`;
}

/** Writes `<name>.md` with a table of this machine and returns its text. */
export async function writeTable(name: string, about: string, text: string): Promise<string> {
  const { cpu, commit, date } = describeMachine();
  const made = `Made by \`npm run bench -- ${name}\` on ${cpu}, ${date}, commit ${commit}.`;
  const whole = [`# ${about}`, text, made].join('\n\n');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${name}.md`), `${whole}\n`);
  return whole;
}
