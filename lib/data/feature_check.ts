import { createHash, type Hash } from 'node:crypto';
import { z } from 'zod';
import { PartlensError } from '../errors.js';
import type { SafetensorsFile } from './safetensors.js';
import { rowBytes } from './safetensors_header.js';
import { notFinite, notFiniteHalf } from './sound.js';

/** Bytes of a shard that are read at once. */
const READ_BYTES = 2 ** 22;

/** SHA-256 of the tensors of a shard while its rows are written in order. */
export class ShardSums {
  readonly #hashes = new Map<string, Hash>();

  /** What stands in the metadata until the sums are known: of the same length. */
  static blank(names: readonly string[]): string {
    return JSON.stringify(Object.fromEntries(names.map((name) => [name, '0'.repeat(64)])));
  }

  add(name: string, { buffer, byteOffset, byteLength }: ArrayBufferView): void {
    const hash = this.#hashes.get(name) ?? createHash('sha256');
    this.#hashes.set(name, hash.update(new Uint8Array(buffer, byteOffset, byteLength)));
  }

  /** The sums of all tensors, in the order of `names`. */
  text(names: readonly string[]): string {
    const sums = names.map((name) => [
      name,
      (this.#hashes.get(name) ?? createHash('sha256')).digest('hex'),
    ]);
    return JSON.stringify(Object.fromEntries(sums));
  }
}

/**
 * Reads a whole shard. Throws `E_FILE` for a value that is no finite number, or a tensor that is not as it was
 * written; shards of 0.1.0 carry no checksums.
 */
export async function checkShard(shard: SafetensorsFile): Promise<void> {
  const sums = sumsOf(shard);
  for (const [name, entry] of shard.tensors) {
    const hash = createHash('sha256');
    const size = Math.max(rowBytes(entry), 1);
    const rows = entry.shape[0] ?? 1;
    const most = Math.max(1, Math.floor(READ_BYTES / size));
    let wrong: string | undefined;
    for (let first = 0; first < rows; first += most) {
      const values = await shard.readRows(name, first, Math.min(most, rows - first));
      hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      wrong ??= values instanceof Uint16Array ? notFiniteHalf(values) : await notFinite(values);
    }
    if (wrong !== undefined) throw damaged(shard.path, `${name} holds ${wrong}`);
    if (sums && sums[name] !== hash.digest('hex')) {
      throw damaged(shard.path, `${name} is not as it was written`);
    }
  }
}

function sumsOf({ metadata, path }: SafetensorsFile): Record<string, string> | undefined {
  const text = metadata['checksums'];
  if (text === undefined) return undefined;
  try {
    return z.record(z.string(), z.string()).parse(JSON.parse(text));
  } catch {
    throw damaged(path, 'its checksums cannot be read');
  }
}

function damaged(path: string, what: string): PartlensError {
  return new PartlensError('E_FILE', `${path} is damaged: ${what}.`, { details: { path } });
}
