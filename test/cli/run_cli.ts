import { spawn, type ChildProcess } from 'node:child_process';
import { main } from '../../lib/cli/main.js';
import { LOADER, moduleFile } from '../support/source.js';

export interface Outcome {
  /** Exit code; undefined when a signal ended the process. */
  code: number | undefined;
  stdout: string;
  stderr: string;
}

const SOURCE = `
  const { main } = await import(${JSON.stringify(moduleFile('lib/cli/main'))});
  process.exitCode = await main(process.argv.slice(1));
`;

/** The command line in this process: quick, for what ends at once. */
export async function here(...args: string[]): Promise<Outcome> {
  const texts = { stdout: '', stderr: '' };
  const catching = (['stdout', 'stderr'] as const).map((name) => {
    const stream = process[name];
    const write = stream.write.bind(stream);
    stream.write = (text: string | Uint8Array) => {
      texts[name] += String(text);
      return true;
    };
    return () => (stream.write = write);
  });
  try {
    return { code: await main(args), ...texts };
  } finally {
    for (const restore of catching) restore();
  }
}

/** The command line in a process of its own, as a shell starts it, from the sources. */
export function start(args: readonly string[]): { child: ChildProcess; ended: Promise<Outcome> } {
  const node = [...LOADER, '--input-type=module', '-e', SOURCE, '--', ...args];
  const child = spawn(process.execPath, node, { stdio: ['ignore', 'pipe', 'pipe'] });
  const texts = { stdout: '', stderr: '' };
  child.stdout.on('data', (part: Buffer) => (texts.stdout += part.toString()));
  child.stderr.on('data', (part: Buffer) => (texts.stderr += part.toString()));
  const ended = new Promise<Outcome>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? undefined, ...texts }));
  });
  return { child, ended };
}

/** Waits until something is true; gives up after a minute, or when the process ends before. */
export async function until(
  what: () => boolean | Promise<boolean>,
  { ended }: { ended: Promise<Outcome> },
): Promise<void> {
  let early: Outcome | undefined;
  void ended.then((outcome) => (early = outcome));
  for (let tries = 0; tries < 6000; tries++) {
    if (await what()) return;
    if (early) throw new Error(`ended with ${String(early.code)}: ${early.stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('nothing happened for a minute');
}
