import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeTextAtomic } from '../data/atomic.js';
import { fileError, hasSystemCode } from '../data/file_error.js';
import { expected } from '../errors.js';

/** Says that the demo made a folder, so that the next one may replace what it wrote there. */
const MARK = '.partlens-demo';
/** Everything that the demo writes into its folder. */
const OWN = ['birds', 'masks', 'bird_cnn.onnx', 'bird_cnn.json', 'run'];

/**
 * Makes a folder ready for the demo: a new or empty one, or that of an older demo, from which it removes
 * what the demo wrote and nothing else. Throws `E_ARGUMENT` for any other folder, which is not touched,
 * and `E_FILE`.
 */
export async function prepareFolder(folder: string): Promise<void> {
  try {
    const found = await namesIn(folder);
    if (found.length > 0 && !found.includes(MARK)) {
      throw expected('a new folder, or one of an older demo,', 'out', folder, {
        op: 'demo',
        remedy: 'What is there is not touched. Choose another --out.',
      });
    }
    await mkdir(folder, { recursive: true });
    await writeTextAtomic(join(folder, MARK), 'partlens demo replaces what it wrote here.\n');
    for (const name of OWN) await rm(join(folder, name), { recursive: true, force: true });
  } catch (cause) {
    throw fileError('write', folder, cause);
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    if (hasSystemCode(cause, 'ENOENT')) return [];
    throw cause;
  }
}
