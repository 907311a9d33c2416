import { isSystemError, memoryError, PartlensError } from '../errors.js';

/**
 * The `E_FILE` error for something that the file system refused: `Cannot write run/x: ENOSPC: no space
 * left on device.` Errors of the package itself pass unchanged.
 */
export function fileError(action: 'read' | 'write', path: string, cause: unknown): PartlensError {
  const known = memoryError(cause, action);
  if (known instanceof PartlensError) return known;
  const reason = isSystemError(cause)
    ? (cause.message.split(',')[0] ?? cause.message)
    : cause instanceof Error
      ? cause.message
      : String(cause);
  const code = isSystemError(cause) ? { errno: cause.code } : {};
  return new PartlensError('E_FILE', `Cannot ${action} ${path}: ${reason}.`, {
    details: { path, ...code },
    cause,
  });
}

/** True when the file system answered with one of these codes (`ENOENT`, ...). */
export function hasSystemCode(error: unknown, ...codes: string[]): boolean {
  return isSystemError(error) && codes.includes(error.code ?? '');
}
