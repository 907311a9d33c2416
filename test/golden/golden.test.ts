import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ACCURACIES } from '../../lib/engine/binding.js';
import { readGolden, runGolden } from './golden.js';
import { TOLERANCE } from './run.js';
import { backends } from '../support/engine.js';

const folder = fileURLToPath(new URL('../../../shared/golden/', import.meta.url));

const cases = backends().flatMap((backend) =>
  ['explainer_adam.json', 'explainer_sgd.json'].flatMap((name) =>
    (backend === 'cpu' ? ACCURACIES : (['fast'] as const)).map((accuracy) => ({
      ...{ backend, name, accuracy },
    })),
  ),
);

describe('golden fixtures', () => {
  for (const { backend, name, accuracy } of cases) {
    it(`${name} on ${backend}, ${accuracy}: losses, activations, alphas, gradients, parameters`, async function () {
      if (!existsSync(folder + name)) {
        console.log(`      skipped: ${name} is not in ../shared/golden`);
        this.skip();
      }
      const comparisons = await runGolden(await readGolden(folder + name), { backend, accuracy });
      expect(comparisons).to.have.length.above(60);
      const wrong = comparisons.filter(({ error }) => !(error <= TOLERANCE));
      expect(wrong).to.deep.equal([]);
    });
  }

  it('a file of another form is refused', async () => {
    const failure = await readGolden(fileURLToPath(import.meta.url)).catch(
      (error: unknown) => error,
    );
    expect(failure).to.have.property('code', 'E_FILE');
  });
});
