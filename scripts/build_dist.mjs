// Compiles lib/ to dist/ with the package's TypeScript, unless it is up to date.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fail, hashOf, isStamped, root, run, writeStamp } from './toolchain.mjs';

const STAMP = 'dist/lib.stamp';

/** False when TypeScript is not installed: a package from the registry carries dist/. */
export function buildDist() {
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  if (!existsSync(compiler)) return false;
  const stamp = hashOf('lib', 'tsconfig.json', 'tsconfig.build.json', 'package.json');
  if (isStamped(STAMP, stamp)) return true;
  if (run(process.execPath, [compiler, '-p', 'tsconfig.build.json']) !== 0) {
    fail('lib/ did not compile, see above.');
  }
  writeStamp(STAMP, stamp);
  return true;
}
