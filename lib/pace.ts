import { setImmediate } from 'node:timers/promises';

/** Milliseconds of work before the event loop gets a turn. */
const TURN = 20;

/** To be awaited between small pieces of work: lets the event loop run, and throws once aborted. */
export function pacer(signal?: AbortSignal): () => Promise<void> {
  let start = performance.now();
  return async () => {
    if (performance.now() - start < TURN) return;
    await setImmediate();
    signal?.throwIfAborted();
    start = performance.now();
  };
}

/** Numbers that are computed between two looks at the clock: about a millisecond of work. */
const PIECE = 1 << 16;

/** Calls `body(from, to)` for pieces of 0 .. count - 1 in order, the event loop in between. */
export async function inPieces(
  count: number,
  body: (from: number, to: number) => void,
  pace: () => Promise<void> = pacer(),
): Promise<void> {
  for (let from = 0; from < count; from += PIECE) {
    body(from, Math.min(from + PIECE, count));
    await pace();
  }
}
