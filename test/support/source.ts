import { fileURLToPath } from 'node:url';

/** The tests run from their sources, and compiled in the offline bundle (scripts/bundle.mjs). */
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** Options of Node for a process that imports the same files. */
export const LOADER: readonly string[] = EXTENSION === 'ts' ? ['--import', 'tsx/esm'] : [];

/** Path of a module of the package, `lib/engine/session`, as it is here. */
export function moduleFile(name: string): string {
  return fileURLToPath(new URL(`../../${name}.${EXTENSION}`, import.meta.url));
}
