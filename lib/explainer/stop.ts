import { memoryError, PartlensError } from '../errors.js';

/** The error of work that was stopped by its signal: `E_STATE`, `details.stopped`. */
export function stoppedError(
  message: string,
  { op, cause, ...details }: { op: string; cause?: unknown; step?: number },
): PartlensError {
  return new PartlensError('E_STATE', message, {
    op,
    details: { ...details, stopped: true },
    cause,
  });
}

/** Awaits work; when it ends because the signal aborted, with an `E_STATE` of this text; `E_MEMORY` where memory ends. */
export async function stoppable<T>(
  signal: AbortSignal | undefined,
  { op, message }: { op: string; message: string },
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!signal?.aborted) throw memoryError(cause, op);
    const stopped = cause instanceof PartlensError && cause.details['stopped'] === true;
    if (cause === signal.reason || stopped) throw stoppedError(message, { op, cause });
    throw cause;
  }
}
