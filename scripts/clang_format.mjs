// Formats (--write) or checks the C++ and CUDA files with the package's clang-format.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './toolchain.mjs';

const files = ['native', 'cuda', 'bench/train', 'test/cuda', 'test/native'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((name) => /\.(cpp|h|cu|cuh)$/.test(name))
    .map((name) => join(folder, name)),
);
const mode = process.argv.includes('--write') ? ['-i'] : ['--dry-run', '-Werror'];
process.exit(run(process.execPath, ['node_modules/clang-format/index.js', ...mode, ...files]));
