import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { PartlensError, type ErrorCode } from '../../lib/errors.js';
import type { Preprocessing } from '../../lib/performer/preprocessing.js';

/** Complete preprocessing for generated networks. */
export const PLAIN: Omit<Preprocessing, 'size' | 'supersample'> = {
  mean: [0.5, 0.5, 0.5],
  std: [0.25, 0.25, 0.25],
  channels: 'RGB',
  scale: 1 / 255,
};

/** A folder that is removed when `use` ends. */
export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(path.join(tmpdir(), 'partlens-performer-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes bytes to a file of its own, gives its path and removes it. */
export async function withModel<T>(
  bytes: Uint8Array,
  use: (file: string, folder: string) => Promise<T>,
): Promise<T> {
  return inFolder(async (folder) => {
    const file = path.join(folder, 'model.onnx');
    await writeFile(file, bytes);
    return use(file, folder);
  });
}

/** The `PartlensError` that `run` throws or rejects with; its code and message are checked. */
export async function failure(
  code: ErrorCode,
  message: RegExp,
  run: () => unknown,
): Promise<PartlensError> {
  let error: unknown;
  try {
    await run();
  } catch (caught) {
    error = caught;
  }
  if (!(error instanceof PartlensError)) {
    throw new Error(`expected a PartlensError ${code} ${String(message)}`, { cause: error });
  }
  expect(error.message).to.match(message);
  expect(error.code).to.equal(code);
  return error;
}
