import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));

interface Manifest {
  name: string;
  version: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

/** One package of a registry that is answered from files. */
export interface Entry {
  manifest: Manifest;
  tarball: Buffer;
}

const readManifest = (file: string): Manifest => JSON.parse(readFileSync(file, 'utf8')) as Manifest;

function tar(args: string[], input?: Buffer): Buffer {
  const { status, stdout, stderr } = spawnSync('tar', args, { input, maxBuffer: 2 ** 30 });
  if (status !== 0) throw new Error(`tar ${args.join(' ')}: ${String(stderr)}`);
  return stdout;
}

/** A package of nothing but a manifest. */
export function manifestOnly(manifest: Manifest, folder: string): Entry {
  mkdirSync(path.join(folder, 'package'), { recursive: true });
  writeFileSync(path.join(folder, 'package/package.json'), JSON.stringify(manifest));
  return { manifest, tarball: tar(['-czf', '-', '-C', folder, 'package']) };
}

/** A packed tarball. */
export function packed(file: string): Entry {
  const tarball = readFileSync(file);
  const text = tar(['-xzOf', '-', 'package/package.json'], tarball).toString();
  return { manifest: JSON.parse(text) as Manifest, tarball };
}

/** Of programs for several systems those for this one alone, packed quickly. */
function pack(folder: string, file: string): void {
  const excluded = ['./node_modules', './bin/*/darwin', './bin/*/win32', './bin/*/linux/arm64'];
  const options = [...excluded.map((one) => `--exclude=${one}`), '--transform=s,^[.],package,'];
  tar(['-I', 'gzip -1', '-cf', file, ...options, '-C', folder, '.']);
}

/** The installed packages that some need at run time, packed anew. */
export function installed(names: readonly string[], folder: string, cache: string): Entry[] {
  mkdirSync(cache, { recursive: true });
  const found = new Map<string, Entry>();
  const add = (name: string): void => {
    const from = path.join(folder, 'node_modules', name);
    if (found.has(name) || !existsSync(from)) return;
    const manifest = readManifest(path.join(from, 'package.json'));
    const file = path.join(cache, `${name.replaceAll('/', '-')}-${manifest.version}.tgz`);
    if (!existsSync(file)) pack(from, file);
    found.set(name, { manifest, tarball: readFileSync(file) });
    const { dependencies = {}, optionalDependencies = {} } = manifest;
    for (const each of Object.keys({ ...dependencies, ...optionalDependencies })) add(each);
  };
  names.forEach(add);
  return [...found.values()];
}

/** A registry on this machine that knows these packages alone and answers 404 for all others. */
export async function startRegistry(entries: readonly Entry[]): Promise<{
  url: string;
  asked: Set<string>;
  stop: () => Promise<void>;
}> {
  const byName = new Map(entries.map((entry) => [entry.manifest.name, entry]));
  const asked = new Set<string>();
  const server = createServer((request, response) => {
    const name = decodeURIComponent((request.url ?? '/').slice(1).split('?')[0] ?? '');
    const [wanted = '', file] = name.split('/-/');
    asked.add(wanted);
    const entry = byName.get(wanted);
    if (!entry) {
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not found"}');
    } else if (file !== undefined) {
      response.writeHead(200).end(entry.tarball);
    } else {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(packument(entry, `http://${request.headers.host ?? ''}`)));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => {
        resolve();
      });
    });
  return { url: `http://127.0.0.1:${String(port)}/`, asked, stop };
}

function packument({ manifest, tarball }: Entry, host: string): Record<string, unknown> {
  const { name, version } = manifest;
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  const file = `${name.split('/').at(-1) ?? ''}-${version}.tgz`;
  const dist = { tarball: `${host}/${name}/-/${file}`, integrity };
  return {
    name,
    'dist-tags': { latest: version },
    time: { [version]: '2020-01-01T00:00:00.000Z' }, // some refuse what is a few hours old
    versions: { [version]: { ...manifest, dist } },
  };
}

/** The tarballs of a folder. */
export const packedIn = (folder: string): Entry[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.tgz'))
    .map((name) => packed(path.join(folder, name)));
