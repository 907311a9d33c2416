// npm run build: the addon and dist/. With --if-possible (npm's prepare) dist/ alone, if TypeScript is
// there.
import { buildDist } from './build_dist.mjs';
import { buildNative } from './build_native.mjs';
import { fail } from './toolchain.mjs';

const optional = process.argv.includes('--if-possible');
if (!optional) await buildNative();
if (!(await buildDist()) && !optional) fail('TypeScript is not installed: run npm ci first.');
