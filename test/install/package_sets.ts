import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { installed, packedIn, root, type Entry } from './registry.js';

const { prebuild } = (await import(path.join(root, 'scripts/prebuild.mjs'))) as {
  prebuild: (names: string[], options: { out: string }) => Promise<void>;
};
const { hostPlatform } = (await import(path.join(root, 'scripts/platforms.mjs'))) as {
  hostPlatform: () => string;
};

export const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  version: string;
  dependencies: Record<string, string>;
};

/** This machine's platform package. */
export const PLATFORM = `@partlens/${hostPlatform()}`;

/** Where the tarballs lie. */
export const PACKED = path.join(root, 'build/packages_test');
let packing: Promise<Entry[]> | undefined;

/** Packs the package and its platform package, from what is built, once a process. */
export async function packAll(): Promise<Entry[]> {
  const pack = async (): Promise<Entry[]> => {
    rmSync(PACKED, { recursive: true, force: true });
    await prebuild([hostPlatform()], { out: PACKED });
    return packedIn(PACKED);
  };
  packing ??= pack();
  return packing;
}

/** What the package needs of others, from this clone's node_modules. */
export const dependencies = (cache: string): Entry[] =>
  installed(Object.keys(manifest.dependencies), root, cache);
