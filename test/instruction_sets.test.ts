import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { loadBinding } from '../lib/binding.js';

const LACKING = 'names an instruction set that this machine lacks';

/** Runs the small cases of all op tests in a process that uses the kernels of `isa`. */
async function opTests(isa: string): Promise<{ code: number | null; output: string }> {
  const folder = fileURLToPath(new URL('ops/', import.meta.url));
  const files = readdirSync(folder).filter((name) => /\.test\.[jt]s$/.test(name));
  const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js');
  const loader = import.meta.url.endsWith('.ts') ? ['--import', 'tsx/esm'] : [];
  const specs = files.map((name) => path.join(folder, name));
  const options = ['--no-config', '--reporter', 'dot', '--timeout', '60000', '--forbid-only'];
  const child = spawn(process.execPath, [...loader, mocha, ...options, ...specs], {
    env: { ...process.env, PARTLENS_ISA: isa, PARTLENS_TEST_SMALL: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  child.stderr.on('data', (chunk) => (output += String(chunk)));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, output });
    });
  });
}

describe('instruction sets', () => {
  const used = loadBinding()
    .devices()
    .find(({ backend }) => backend === 'cpu')?.isa;
  for (const isa of ['sse2', 'avx2', 'avx512']) {
    it(`op tests on ${isa}`, async function () {
      const reason =
        process.arch !== 'x64'
          ? `no ${isa} on ${process.arch}`
          : process.env.PARTLENS_ISA
            ? 'PARTLENS_ISA is set'
            : isa === used
              ? `${isa} is what all other tests use`
              : '';
      const { code, output } = reason ? { code: 0, output: '' } : await opTests(isa);
      if (reason || output.includes(LACKING)) {
        console.log(`      skipped: ${reason || `this machine lacks ${isa}`}`);
        this.skip();
      }
      if (code !== 0) throw new Error(`op tests on ${isa} ended with ${String(code)}:\n${output}`);
      expect(output).to.match(/[1-9]\d+ passing/);
    });
  }
});
