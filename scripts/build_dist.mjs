// Compiles lib/ to dist/ with the package's TypeScript, and bundles the pages of reports to dist/page/, unless
// all is up to date.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail, hashOf, isStamped, root, run, writeStamp } from './toolchain.mjs';

const STAMP = 'dist/lib.stamp';

/** False when TypeScript is not installed: a package from the registry carries dist/. */
export async function buildDist() {
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  if (!existsSync(compiler)) return false;
  const stamp = hashOf(
    'lib',
    'tsconfig.json',
    'tsconfig.build.json',
    'package.json',
    'scripts/build_dist.mjs',
  );
  if (isStamped(STAMP, stamp)) return true;
  if (run(process.execPath, [compiler, '-p', 'tsconfig.build.json']) !== 0) {
    fail('lib/ did not compile, see above.');
  }
  await buildPages();
  writeCommonJs();
  writeStamp(STAMP, stamp);
  return true;
}

/** What require() finds, with types of its own: both lead to the one ES module, so that classes are the same. */
function writeCommonJs() {
  writeFileSync(join(root, 'dist/index.cjs'), "module.exports = require('./index.js');\n");
  writeFileSync(join(root, 'dist/index.d.cts'), "export * from './index.js';\n");
}

/** One script and one style for each page, with the libraries that it uses and their licences. */
async function buildPages() {
  const { build } = await import('esbuild'); // not there before npm ci
  await build({
    entryPoints: ['report', 'live'].map((name) => join(root, `lib/report/page/${name}.ts`)),
    outdir: join(root, 'dist/page'),
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'inline',
    logLevel: 'warning',
  }).catch(() => fail('the pages of reports did not build, see above.'));
}
