import { Command } from 'commander';
import { loadBinding } from '../engine/binding.js';
import { print, printJson } from './terminal.js';

export function devicesCommand(): Command {
  return new Command('devices')
    .description('List the backends, and why one cannot be used.')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  partlens devices')
    .action(({ json }: { json?: boolean }) => {
      const devices = loadBinding().devices();
      if (json) {
        printJson(devices);
        return;
      }
      for (const { backend, available, reason, isa, name, threads, memoryBytes } of devices) {
        const facts = [isa];
        if (name !== undefined) facts.unshift(name);
        if (threads !== undefined) facts.push(`${String(threads)} threads`);
        if (memoryBytes !== undefined) facts.push(`${(memoryBytes / 2 ** 30).toFixed(1)} GiB`);
        print(`${backend.padEnd(5)} ${available ? facts.join(', ') : `not available: ${reason}`}`);
      }
    });
}
