import { Command, CommanderError } from 'commander';
import { memoryError, PartlensError } from '../errors.js';
import { VERSION } from '../version.js';
import { buildCommand } from './build.js';
import { demoCommand } from './demo.js';
import { devicesCommand } from './devices.js';
import { evaluateCommand } from './evaluate.js';
import { explainCommand } from './explain.js';
import { exportCommand } from './export.js';
import { featuresCommand } from './features.js';
import { Ended, hangUp } from './interrupt.js';
import { inspectCommand } from './inspect.js';
import { reportCommand } from './report.js';
import { printError, terminalText } from './terminal.js';
import { trainCommand } from './train.js';

/** Exit codes: wrong usage, failure. */
const USAGE = 2;
const FAILURE = 1;

/** The command line `partlens`. */
export function buildProgram(): Command {
  const program = new Command('partlens')
    .description('Explains the middle layers of a trained CNN as object parts.')
    .version(VERSION)
    .option('--verbose', 'show the stack of an error')
    .addHelpText('after', '\nExample:\n  partlens demo\n  partlens inspect model.onnx');
  const commands = [
    demoCommand,
    inspectCommand,
    trainCommand,
    evaluateCommand,
    explainCommand,
    exportCommand,
    featuresCommand,
    reportCommand,
    devicesCommand,
    buildCommand,
  ];
  for (const make of commands) program.addCommand(make());
  for (const command of [program, ...program.commands]) {
    command.exitOverride().showHelpAfterError('(--help shows the options)');
    command.configureOutput({
      writeOut: (text) => process.stdout.write(terminalText(text)),
      writeErr: (text) => process.stderr.write(terminalText(text)),
    });
  }
  return program;
}

/** Runs the command line; resolves with the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    await buildProgram().parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    report(error instanceof Ended ? error.cause : error, args.includes('--verbose'));
    if (error instanceof Ended) return error.exitCode;
    return error instanceof PartlensError && error.code === 'E_ARGUMENT' ? USAGE : FAILURE;
  }
}

function report(given: unknown, verbose: boolean): void {
  const error = memoryError(given, 'partlens');
  const known = error instanceof PartlensError;
  const text = error instanceof Error ? error.message : String(error);
  printError(`partlens: ${text}${known ? ` (${error.code})` : ''}`);
  if (verbose && error instanceof Error) printError(error.stack ?? '');
}

if (process.argv[1]?.endsWith('partlens.js') || process.argv[1]?.endsWith('partlens')) {
  // A reader that has seen enough, such as `head`, is no error; nor a terminal that was closed, which
  // SIGHUP tells: its run ends with a checkpoint.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
    });
  }
  process.exitCode = await main(process.argv.slice(2));
  hangUp();
}
