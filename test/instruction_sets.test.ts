import { expect } from 'chai';
import { loadBinding } from '../lib/engine/binding.js';
import { finished, opTests } from './support/op_tests.js';
import { LOADER, moduleFile } from './support/source.js';

const LACKING = 'names an instruction set that this machine lacks';

/** Of an addon, by architecture. ARM elsewhere is for test/native to emulate. */
const ISAS: Record<string, string[]> = { x64: ['sse2', 'avx2', 'avx512'], arm64: ['neon'] };

/** What the addon says of its devices with an instruction set. */
async function said(isa: string): Promise<string> {
  const code = `const { loadBinding } = await import(${JSON.stringify(moduleFile('lib/engine/binding'))});
    console.log(JSON.stringify(loadBinding().devices()));`;
  const args = [...LOADER, '--input-type=module', '-e', code];
  return (await finished(process.execPath, args, { PARTLENS_ISA: isa })).output;
}

describe('instruction sets', () => {
  const used = loadBinding()
    .devices()
    .find(({ backend }) => backend === 'cpu')?.isa;
  for (const isa of ISAS[process.arch] ?? []) {
    it(`op tests on ${isa}`, async function () {
      const reason = process.env.PARTLENS_ISA
        ? 'PARTLENS_ISA is set'
        : isa === used
          ? `${isa} is what all other tests use`
          : '';
      const lacks = !reason && (await said(isa)).includes(LACKING);
      if (reason || lacks) {
        console.log(`      skipped: ${reason || `this machine lacks ${isa}`}`);
        this.skip();
      }
      const { code, output } = await opTests({ PARTLENS_ISA: isa });
      if (code !== 0) throw new Error(`op tests on ${isa} ended with ${String(code)}:\n${output}`);
      expect(output).to.match(/[1-9]\d+ passing/);
    });
  }
});
