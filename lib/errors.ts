/** The closed list of error codes. Every error that a user can cause carries one of them. */
export type ErrorCode =
  | 'E_ARGUMENT'
  | 'E_SHAPE'
  | 'E_DTYPE'
  | 'E_ONNX'
  | 'E_FILE'
  | 'E_BACKEND'
  | 'E_CUDA'
  | 'E_MEMORY'
  | 'E_STATE'
  | 'E_INTERNAL';

export interface PartlensErrorOptions {
  /** Op, command or function that refuses. */
  op?: string;
  /** Facts for a program to read: names, shapes, file, step ... */
  details?: Record<string, unknown>;
  cause?: unknown;
}

/** The one error class of the package: `[op] Expected <what> for <name> but received <value>.` */
export class PartlensError extends Error {
  override readonly name = 'PartlensError';
  readonly code: ErrorCode;
  readonly op: string | undefined;
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, options: PartlensErrorOptions = {}) {
    const { op, details = {}, cause } = options;
    super(op === undefined ? message : `[${op}] ${message}`, cause === undefined ? {} : { cause });
    this.code = code;
    this.op = op;
    this.details = details;
  }
}

/** Shows any value in an error text: short, on one line. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (Array.isArray(value)) return `(${value.map(show).join(', ')})`;
  if (ArrayBuffer.isView(value)) {
    const length = 'length' in value ? String(value.length) : String(value.byteLength);
    return `${value.constructor.name}(${length})`;
  }
  if (typeof value === 'object' && value !== null) return value.constructor.name;
  return String(value);
}

/** The error for a wrong argument, in the house's one sentence. */
export function expected(
  what: string,
  name: string,
  received: unknown,
  options: PartlensErrorOptions & { code?: ErrorCode; remedy?: string } = {},
): PartlensError {
  const { code = 'E_ARGUMENT', remedy, ...rest } = options;
  const sentence = `Expected ${what} for ${name} but received ${show(received)}.`;
  return new PartlensError(code, remedy === undefined ? sentence : `${sentence}\n${remedy}`, rest);
}

/** True for Node's file-system errors (`ENOENT`, `ENOSPC`, ...). */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string';
}

/** What V8 and Node say, as RangeErrors, where memory ends or a limit of theirs on it. */
const NO_MEMORY =
  /allocation failed|Invalid (typed )?array (buffer )?length|Invalid string length|string longer than|out of memory/i;

/** `E_MEMORY` for a RangeError that stands for memory; any other error as it is. */
export function memoryError(error: unknown, op: string): unknown {
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  const memory =
    error instanceof RangeError &&
    (NO_MEMORY.test(error.message) || code === 'ERR_STRING_TOO_LONG');
  if (!memory && code !== 'ERR_STRING_TOO_LONG') return error;
  const { message } = error as Error;
  return new PartlensError('E_MEMORY', `There is not enough memory: ${message}.`, {
    op,
    cause: error,
  });
}

/** The result of a public function; where memory ends it throws `E_MEMORY`, not V8's RangeError. */
export async function withMemoryErrors<T>(op: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw memoryError(error, op);
  }
}

/** Throws `E_ARGUMENT` where a caller without types gave something else than text. */
export function requireText(value: unknown, name: string, op: string): void {
  if (typeof value !== 'string' || value === '') throw expected('text', name, value, { op });
}

/** Throws `E_ARGUMENT` where a caller without types gave something else than a list of names. */
export function requireNames(values: unknown, name: string, op: string): void {
  if (Array.isArray(values) && values.every((value) => typeof value === 'string')) return;
  throw expected('a list of names', name, values, { op });
}
