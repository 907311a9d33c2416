import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = '/sys/fs/cgroup';
const LIMITS = {
  v1: {
    cpu: { 'cpu.cfs_period_us': '100000', 'cpu.cfs_quota_us': '50000' },
    memory: { 'memory.limit_in_bytes': String(2 ** 30) },
  },
  v2: { 'cpu.max': '50000 100000', 'memory.max': String(2 ** 30) },
};

/** Half a CPU and 1 GiB for processes below the group of this one. */
export class ControlGroup {
  readonly #folders: string[] = [];

  /** Runs a command within the limits. Throws the system's error where groups cannot be made. */
  run(command: readonly string[]): { stdout: string; stderr: string } {
    if (existsSync(path.join(ROOT, 'cgroup.controllers'))) {
      this.#add(path.join(ROOT, ownGroup('')), LIMITS.v2);
    } else {
      this.#add(path.join(ROOT, 'cpu', ownGroup('cpu')), LIMITS.v1.cpu);
      this.#add(path.join(ROOT, 'memory', ownGroup('memory')), LIMITS.v1.memory);
    }
    const enter = this.#folders.map((folder) => `echo $$ > ${folder}/cgroup.procs && `).join('');
    return spawnSync('sh', ['-c', `${enter}exec "$@"`, 'sh', ...command], { encoding: 'utf8' });
  }

  remove(): void {
    for (const folder of this.#folders) rmdirSync(folder);
  }

  #add(parent: string, limits: Record<string, string>): void {
    const folder = path.join(parent, `partlens-${String(process.pid)}`);
    mkdirSync(folder);
    this.#folders.push(folder);
    for (const [file, value] of Object.entries(limits)) {
      writeFileSync(path.join(folder, file), value, { flag: 'r+' });
    }
  }
}

/** This process's group of a v1 controller, or for '' of v2: `/user.slice`. */
function ownGroup(controller: string): string {
  const lines = readFileSync('/proc/self/cgroup', 'utf8').split('\n');
  const own = lines.map((line) => line.split(':')).find((parts) => parts[1] === controller);
  return own?.slice(2).join(':') ?? '/';
}
