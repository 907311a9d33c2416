// npm run test:install: installs the packed tarballs with scripts off by each package manager, offline and
// without compilers, and uses them. Prints a table; ends with code 1 where one fails.
//   PATTERN        those alone whose name it matches: npm, pnpm, bun, deno
//   --packed DIR   tarballs that npm run prebuild has made
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { dependencies, manifest, packAll } from './package_sets.js';
import { poorPath, run, writeProject, type Told } from './project.js';
import { installed, packedIn, root, startRegistry } from './registry.js';
import { fetchTools, TOOLS, ways, type Way } from './tools.js';

const MOST_CPU_SECONDS = 10;

interface Row {
  way: string;
  fault: string;
  installCpu: number;
  importMs: number;
  importCpuMs: number;
  isa: string;
}

/** Runs a command; the CPU seconds that it and its children took, as `times` of the shell says. */
async function timed(command: string[], options: { cwd: string; env: Record<string, string> }) {
  const script = '"$@"; code=$?; times; exit $code';
  const { code, output } = await run('/bin/sh', ['-c', script, 'sh', ...command], options);
  const found = [...output.matchAll(/(\d+)m([\d.]+)s/g)].slice(-2);
  const seconds = found.map(([, minutes, rest]) => 60 * Number(minutes) + Number(rest));
  return { code, output, cpu: seconds.reduce((sum, one) => sum + one, 0) };
}

async function attempt(way: Way, scratch: string, url: string): Promise<Row> {
  const cwd = path.join(scratch, way.name.replaceAll(/\W+/g, '-'));
  const home = `${cwd}-home`;
  const [node = ''] = way.use;
  const bin = poorPath(`${cwd}-bin`, way.name.includes('Node.js') ? node : process.execPath);
  mkdirSync(home);
  const row: Row = {
    way: way.name,
    fault: '',
    installCpu: 0,
    importMs: 0,
    importCpuMs: 0,
    isa: '',
  };
  const env = {
    ...{ PATH: bin, HOME: home, npm_config_registry: url, NPM_CONFIG_REGISTRY: url },
    ...{ BUN_CONFIG_REGISTRY: url, DENO_DIR: path.join(home, 'deno'), NO_COLOR: '1', CI: '1' },
  };
  writeProject(cwd, manifest.version, url);
  const { code, output, cpu } = await timed(way.install, { cwd, env });
  row.installCpu = cpu;
  if (code !== 0) return { ...row, fault: `install: ${output}` };
  for (const file of ['use.cjs', 'use.mjs']) {
    const used = await run(node, [...way.use.slice(1), file, '--onnxruntime'], { cwd, env });
    if (used.code !== 0) return { ...row, fault: `${file}: ${used.output}` };
    const told = JSON.parse(readFileSync(path.join(cwd, 'told.json'), 'utf8')) as Told;
    const fault = faultOf(told);
    if (fault !== '') return { ...row, fault: `${file}: ${fault}` };
    row.isa = typeof told.isa === 'string' ? told.isa : '';
    row.importMs = told.ms;
    row.importCpuMs = told.cpuMs;
  }
  if (cpu > MOST_CPU_SECONDS) row.fault = `install took ${cpu.toFixed(1)} s of CPU`;
  return row;
}

/** What is wrong with what a project told; empty if all is as it should be. */
function faultOf({ version, layers, isa, native, onnxruntime }: Told): string {
  if (version !== manifest.version) return `version ${version}`;
  for (const value of [layers, isa, native, onnxruntime])
    if (value === undefined || (typeof value === 'object' && !Array.isArray(value)))
      return JSON.stringify(value);
  const [a, b] = [native, onnxruntime] as number[][];
  const far = a?.some(
    (value, i) => Math.abs(value - (b?.[i] ?? NaN)) > 1e-4 * (1 + Math.abs(value)),
  );
  return far === false ? '' : `partlens and onnxruntime differ: ${JSON.stringify([a, b])}`;
}

const {
  values: { packed },
  positionals: [pattern = ''],
} = parseArgs({ allowPositionals: true, options: { packed: { type: 'string' } } });
fetchTools();
const scratch = mkdtempSync(path.join(tmpdir(), 'partlens-install-'));
const cache = path.join(root, 'build/install_cache');
const registry = await startRegistry([
  ...(packed === undefined ? await packAll() : packedIn(packed)),
  ...dependencies(cache),
  ...installed(['onnxruntime-node'], TOOLS, cache),
]);
const chosen = ways().filter(({ name }) => new RegExp(pattern, 'i').test(name));
let failed = 0;
console.log('| | install, s of CPU | first import, ms (of CPU) | addon |\n|---|---|---|---|');
try {
  for (const way of chosen) {
    const row = await attempt(way, scratch, registry.url);
    const times = `${row.installCpu.toFixed(1)} | ${row.importMs.toFixed(0)} (${row.importCpuMs.toFixed(0)})`;
    console.log(`| ${row.way} | ${times} | ${row.fault === '' ? row.isa : 'FAILED'} |`);
    if (row.fault === '') continue;
    failed++;
    console.error(row.fault.slice(-3000));
  }
} finally {
  await registry.stop();
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`${String(chosen.length - failed)} passed, ${String(failed)} failed`);
process.exitCode = failed > 0 ? 1 : 0;
