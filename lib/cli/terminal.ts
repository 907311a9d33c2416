/**
 * What a terminal may take for a command, or lines for another order: control characters but the end of a
 * line, marks of writing direction, lone surrogates.
 */
const COMMANDS =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffe\uffff]|\p{Surrogate}/gu;

/** Text with names from files, which anybody may have chosen, as a terminal may have it. */
export function terminalText(text: string): string {
  return text.replace(COMMANDS, '\ufffd');
}

/** The only way of the command line to stdout: a text and the end of its last line. */
export function print(text: string): void {
  process.stdout.write(`${terminalText(text)}\n`);
}

/** One JSON value on stdout; the same characters as escapes, so that a program reads what was there. */
export function printJson(value: unknown): void {
  const escaped = (sign: string): string =>
    `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`;
  process.stdout.write(`${JSON.stringify(value, null, 2).replace(COMMANDS, escaped)}\n`);
}

/** The only way of the command line to stderr, but for the line of progress, which is written over. */
export function printError(text: string, stream: NodeJS.WritableStream = process.stderr): void {
  stream.write(`${terminalText(text)}\n`);
}

/** A word for a shell; with control characters as `$'\x1b'`, which bash and its kin read. */
export function shellWord(text: string): string {
  if (/^[\w./:,-]+$/.test(text)) return text;
  if (terminalText(text) === text && !text.includes('\n'))
    return `'${text.replaceAll("'", `'\\''`)}'`;
  const escaped = text
    .replaceAll(/['\\]/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replace(COMMANDS, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return `$'${escaped}'`;
}
