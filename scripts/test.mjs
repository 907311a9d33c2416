// npm test: set-up, formats, lint, types, every test; npm test -- FILE...: these tests alone. The last line
// says `N passed, N failed`.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './toolchain.mjs';
import './setup.mjs';

const folder = mkdtempSync(join(tmpdir(), 'partlens-test-'));
const counts = join(folder, 'counts.json');
const given = process.argv.slice(2);
const TSC = 'node_modules/typescript/bin/tsc';
const steps = [
  ['prettier', ['node_modules/prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.']],
  ['clang-format', ['scripts/clang_format.mjs']],
  ['eslint', ['node_modules/eslint/bin/eslint.js', '.']],
  ['types', [TSC, '--noEmit', '-p', 'tsconfig.json']],
  ['types of the pages', [TSC, '--noEmit', '-p', 'lib/report/page']],
];

let passed = 0;
const failures = [];
if (given.length === 0) {
  for (const [name, args] of steps) {
    const ok = run(process.execPath, args) === 0;
    console.log(`${ok ? 'ok    ' : 'FAILED'} ${name}`);
    if (ok) passed++;
    else failures.push(name);
  }
}
const mocha = [
  'node_modules/mocha/bin/mocha.js',
  '--reporter',
  'scripts/mocha_reporter.cjs',
  ...(given.length > 0 ? given : ['test/**/*.test.ts']),
];
const status = run(process.execPath, mocha, {
  env: { ...process.env, PARTLENS_TEST_COUNTS: counts },
});
let tests = { passed: 0, failed: 0, skipped: 0 };
try {
  tests = JSON.parse(readFileSync(counts, 'utf8'));
} catch {
  failures.push('mocha ended early');
}
if (status !== 0 && tests.failed === 0) failures.push(`mocha ended with code ${status}`);
rmSync(folder, { recursive: true, force: true });
for (const name of failures) console.log(`FAILED ${name}`);
const failed = tests.failed + failures.length;
const skipped = tests.skipped > 0 ? `, ${tests.skipped} skipped` : '';
console.log(`${passed + tests.passed} passed, ${failed} failed${skipped}`);
process.exitCode = failed > 0 ? 1 : 0;
