import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { PartlensError } from '../errors.js';

export function buildCommand(): Command {
  return new Command('build')
    .description('Compile the native addon on this machine, where no prebuilt one fits.')
    .option('--cuda', 'the CUDA library instead of the addon (needs nvcc, cmake and cmake-js)')
    .addHelpText('after', '\nExample:\n  partlens build')
    .action(async ({ cuda = false }: { cuda?: boolean }) => {
      const [name, what] = cuda ? ['build_cuda', 'CUDA library'] : ['build_native', 'native addon'];
      const script = fileURLToPath(new URL(`../../scripts/${name}.mjs`, import.meta.url));
      const child = spawn(process.execPath, [script], { stdio: 'inherit' });
      const [code] = (await once(child, 'close')) as [number | null];
      if (code === 0) return;
      throw new PartlensError('E_BACKEND', `The ${what} was not built, see above.`, {
        op: 'build',
      });
    });
}
