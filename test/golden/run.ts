// npm run golden -- FILE...: runs golden files through the engine and prints the largest relative
// error of each kind of value. Exit code 1 above 2e-4, 2 for wrong usage. --accuracy as everywhere, but
// direct by default: Adam makes a whole step of a gradient near 0, of its rounding too.
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { ACCURACIES, type Accuracy } from '../../lib/engine/binding.js';
import { PartlensError } from '../../lib/errors.js';
import { readGolden, runGolden, type Comparison } from './golden.js';

/** Largest relative error that passes. */
export const TOLERANCE = 2e-4;

/** The largest error of each kind of value. */
export function worstByKind(comparisons: readonly Comparison[]): Map<string, Comparison> {
  const worst = new Map<string, Comparison>();
  for (const comparison of comparisons) {
    const known = worst.get(comparison.kind);
    if (!known || !(comparison.error <= known.error)) worst.set(comparison.kind, comparison);
  }
  return worst;
}

const USAGE = `usage: npm run golden -- [--accuracy ${ACCURACIES.join('|')}] FILE...`;

/** Files and accuracy; undefined where the usage is wrong. */
function parse(args: string[]): { files: string[]; accuracy: Accuracy } | undefined {
  try {
    const { values, positionals: files } = parseArgs({
      args,
      options: { accuracy: { type: 'string', default: 'direct' } },
      allowPositionals: true,
    });
    const accuracy = ACCURACIES.find((name) => name === values.accuracy);
    return accuracy && files.length > 0 ? { files, accuracy } : undefined;
  } catch {
    return undefined;
  }
}

async function main(args: string[]): Promise<number> {
  const parsed = parse(args);
  if (!parsed) {
    console.error(USAGE);
    return 2;
  }
  const { files, accuracy } = parsed;
  let failed = false;
  for (const file of files) {
    try {
      const compared = await runGolden(await readGolden(file), { accuracy });
      const worst = [...worstByKind(compared).values()];
      const passed = worst.every(({ error }) => error <= TOLERANCE);
      console.log(`${passed ? 'ok  ' : 'FAIL'} ${file}`);
      for (const { kind, name, step, error } of worst) {
        console.log(
          `     ${kind.padEnd(10)} ${error.toExponential(2)}  ${name}, step ${String(step + 1)}`,
        );
      }
      failed ||= !passed;
    } catch (error) {
      if (!(error instanceof PartlensError)) throw error;
      console.error(`FAIL ${file}\n     ${error.message}`);
      failed = true;
    }
  }
  return failed ? 1 : 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.exitCode = await main(process.argv.slice(2));
}
