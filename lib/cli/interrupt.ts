import { isatty } from 'node:tty';

/** What asks a command to end in order, and the exit code of a process that it ended. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type EndSignal = keyof typeof EXIT_CODES;

/** Why a command's signal is aborted. */
class Interruption extends Error {
  readonly by: EndSignal;

  constructor(by: EndSignal) {
    super(`stopped by ${by}`);
    this.by = by;
  }
}

/** A command that SIGTERM or SIGHUP ended in order; the cause is the error to be told. */
export class Ended extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, cause: unknown) {
    super('ended by a signal', { cause });
    this.exitCode = exitCode;
  }
}

/** The exit code where the system asked for the end (not Ctrl-C), else undefined. */
export function endCode({ reason }: AbortSignal): number | undefined {
  if (!(reason instanceof Interruption) || reason.by === 'SIGINT') return undefined;
  return EXIT_CODES[reason.by];
}

const terminals = [0, 1, 2].filter((descriptor) => isatty(descriptor));

/**
 * Ends the process by SIGHUP, which a shell shows as 129, where its terminal is gone: Node aborts where it ends by
 * itself then, since it cannot set the terminal back. Nobody may listen to SIGHUP any more.
 */
export function hangUp(): void {
  if (!terminals.every((descriptor) => isatty(descriptor))) process.kill(process.pid, 'SIGHUP');
}

/**
 * Runs a body with a signal that Ctrl-C, SIGTERM and SIGHUP abort: the body can end in order. The second of
 * them ends the process at once; files are replaced atomically, so nothing is torn. Throws `Ended` where a
 * body fails that SIGTERM or SIGHUP has stopped.
 */
export async function withInterrupt<T>(
  body: (signal: AbortSignal) => Promise<T>,
  onInterrupt: () => void,
): Promise<T> {
  const controller = new AbortController();
  const signals = Object.keys(EXIT_CODES) as EndSignal[];
  const interrupt = (by: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      for (const name of signals) process.off(name, interrupt);
      hangUp();
      process.exit(EXIT_CODES[by as EndSignal]);
    }
    controller.abort(new Interruption(by as EndSignal));
    onInterrupt();
  };
  for (const name of signals) process.on(name, interrupt);
  try {
    return await body(controller.signal);
  } catch (error) {
    const code = endCode(controller.signal);
    throw code === undefined ? error : new Ended(code, error);
  } finally {
    for (const name of signals) process.off(name, interrupt);
  }
}
