import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { smallModel } from '../support/onnx_models.js';

/** What a program wrote and how it ended. */
export interface Ran {
  code: number | null;
  output: string;
}

/** Runs a program with this environment alone. */
export async function run(
  program: string,
  args: readonly string[],
  options: { cwd: string; env: Record<string, string> },
): Promise<Ran> {
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => (output += String(chunk)));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

/** A folder of programs for PATH that holds a shell and Node.js, and no compiler, make or Python. */
export function poorPath(folder: string, node = process.execPath): string {
  mkdirSync(folder, { recursive: true });
  symlinkSync(node, path.join(folder, 'node'));
  for (const tool of ['sh', 'env']) symlinkSync(path.join('/bin', tool), path.join(folder, tool));
  return folder;
}

/** A consumer's project that asks for the package and another onnxruntime-node than this clone has. */
export function writeProject(folder: string, version: string, registry: string): void {
  mkdirSync(folder, { recursive: true });
  const dependencies = { partlens: version, 'onnxruntime-node': '1.22.0' };
  const manifest = { name: 'consumer', private: true, dependencies };
  const write = (name: string, content: string | Uint8Array): void =>
    writeFileSync(path.join(folder, name), content);
  write('package.json', JSON.stringify(manifest));
  write('.npmrc', `registry=${registry}\n`);
  write('model.onnx', smallModel());
  write('use.mjs', `import { writeFileSync } from 'node:fs';\n${use(`await import('partlens')`)}`);
  write(
    'use.cjs',
    `const { writeFileSync } = require('node:fs');\n(async () => {${use(`require('partlens')`)}})();`,
  );
}

/** Times the import; computes on the addon; without it tells the error; then asks onnxruntime-node. */
const use = (get: string): string => `
const start = performance.now();
const spent = process.cpuUsage();
const { PartlensError, VERSION, inspectModel, loadBinding, loadPerformer } = ${get};
const ms = performance.now() - start;
const { user, system } = process.cpuUsage(spent);
const told = { ms, cpuMs: (user + system) / 1000, version: VERSION };
const attempt = async (name, body) => {
  try {
    told[name] = await body();
  } catch (error) {
    told[name] = { known: error instanceof PartlensError, code: error.code, message: error.message };
  }
};
const plain = { mean: [0, 0, 0], std: [1, 1, 1], channels: 'RGB', scale: 1, size: 8 };
const layers = { layer: 'conv_relu', targets: ['logits'], preprocessing: plain };
await attempt('layers', async () => (await inspectModel('model.onnx', { preprocessing: plain })).layers.length);
await attempt('isa', () => loadBinding().devices()[0].isa);
const compute = async (runtime) => {
  const performer = await loadPerformer('model.onnx', { ...layers, runtime });
  const { output } = await performer.features(Float32Array.from({ length: 192 }, (_, i) => i % 7), 1);
  performer[Symbol.dispose]?.();
  return [...output];
};
await attempt('native', () => compute('native'));
if (process.argv.includes('--onnxruntime')) await attempt('onnxruntime', () => compute('onnxruntime'));
writeFileSync('told.json', JSON.stringify(told));
`;

/** What `use.mjs` tells of a project. */
export interface Told {
  ms: number;
  /** Of the import. */
  cpuMs: number;
  version: string;
  layers: number | Failure;
  isa: string | Failure;
  native: number[] | Failure;
  onnxruntime?: number[] | Failure;
}

interface Failure {
  known: boolean;
  code: string;
  message: string;
}
