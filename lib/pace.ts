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
