import { expect } from 'chai';
import { loadBinding } from '../lib/engine/binding.js';
import { opTests } from './support/op_tests.js';

const LACKING = 'names an instruction set that this machine lacks';

/** Of an addon, by architecture. ARM elsewhere is for test/native to emulate. */
const ISAS: Record<string, string[]> = { x64: ['sse2', 'avx2', 'avx512'], arm64: ['neon'] };

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
      const { code, output } = reason
        ? { code: 0, output: '' }
        : await opTests({ PARTLENS_ISA: isa });
      if (reason || output.includes(LACKING)) {
        console.log(`      skipped: ${reason || `this machine lacks ${isa}`}`);
        this.skip();
      }
      if (code !== 0) throw new Error(`op tests on ${isa} ended with ${String(code)}:\n${output}`);
      expect(output).to.match(/[1-9]\d+ passing/);
    });
  }
});
