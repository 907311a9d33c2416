// npm's install step: nothing where the platform package is there, else the CPU addon from source. It never
// fails the install: an addon that is missing is told, with the remedy, when something needs it.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root } from './toolchain.mjs';

const PLATFORMS = [
  `${process.platform}-${process.arch}`,
  ...(process.platform === 'linux' ? [`linuxmusl-${process.arch}`] : []),
];

/** True where a platform package is installed whose addon can be loaded here. */
function isInstalled(name) {
  try {
    createRequire(import.meta.url)(`@partlens/${name}/partlens.node`);
    return true;
  } catch {
    return false;
  }
}

if (!PLATFORMS.some(isInstalled)) {
  const { status } = spawnSync(process.execPath, [join(root, 'scripts/build_native.mjs')], {
    stdio: 'inherit',
  });
  if (status !== 0) {
    console.error(
      'partlens: installed without its native addon; what needs it will say so. ' +
        'When the tools above are there: npx partlens build',
    );
  }
}
