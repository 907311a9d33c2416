import { PartlensError } from '../errors.js';

export interface CsvRow {
  /** Line of the text where the row begins, from 1. */
  line: number;
  fields: string[];
}

const QUOTE = 34;
const LF = 10;
const CR = 13;
const SPACE = 32;

/** What fields of a text are divided by. */
export const SEPARATORS = [',', ';', '\t'] as const;

export type Separator = (typeof SEPARATORS)[number];

/** The separator that stands most often in a line, outside of quotes; a comma where none does. */
export function separatorOf(line: string): Separator {
  const bare = line.replaceAll(/"[^"]*"/g, '');
  const count = (separator: string): number => bare.split(separator).length;
  return SEPARATORS.reduce((best, one) => (count(one) > count(best) ? one : best), ',');
}

/**
 * Parses separated values (RFC 4180): fields may be quoted, with `""` for a quote and with separators and line
 * breaks inside; spaces around a quoted field are no part of it; lines end in LF, CRLF or CR. Empty lines and a
 * byte order mark are left out. Throws `E_FILE` with the line for a quote that is not closed or text behind one.
 */
export function parseCsv(text: string, path: string, separator: Separator = ','): CsvRow[] {
  const rows: CsvRow[] = [];
  const divider = separator.charCodeAt(0);
  let at = text.startsWith('\ufeff') ? 1 : 0;
  let line = 1;
  let row: CsvRow = { line, fields: [] };
  while (at < text.length) {
    const quote = quoteAfterSpaces(text, at);
    let end: number;
    if (quote < 0) {
      end = endOfField(text, at, divider);
      row.fields.push(text.slice(at, end));
    } else {
      const field = readQuoted(text, quote, { path, line, divider });
      row.fields.push(field.value);
      ({ end } = field);
      line += field.breaks;
    }
    at = end + 1;
    if (text.charCodeAt(end) === divider) {
      if (at < text.length) continue;
      row.fields.push(''); // the text ends with a separator
    }
    if (text.charCodeAt(end) === CR && text.charCodeAt(at) === LF) at++;
    if (row.fields.length > 1 || row.fields[0] !== '') rows.push(row);
    row = { line: ++line, fields: [] };
  }
  return rows;
}

/** Where the quote of a quoted field stands, -1 for another field. */
function quoteAfterSpaces(text: string, start: number): number {
  let at = start;
  while (text.charCodeAt(at) === SPACE) at++;
  return text.charCodeAt(at) === QUOTE ? at : -1;
}

function endOfField(text: string, start: number, divider: number): number {
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === divider || code === LF || code === CR) return at;
  }
  return text.length;
}

interface Place {
  path: string;
  line: number;
  divider: number;
}

/** `end`: position of the separator, line end or end of text behind the field. */
function readQuoted(
  text: string,
  start: number,
  { path, line, divider }: Place,
): { value: string; end: number; breaks: number } {
  const bad = (what: string): PartlensError =>
    new PartlensError('E_FILE', `${path}, line ${String(line)}: ${what}.`);
  let value = '';
  for (let from = start + 1; ;) {
    const quote = text.indexOf('"', from);
    if (quote < 0) throw bad('a quote is not closed');
    value += text.slice(from, quote);
    if (text.charCodeAt(quote + 1) === QUOTE) {
      value += '"';
      from = quote + 2;
      continue;
    }
    let end = quote + 1;
    while (text.charCodeAt(end) === SPACE) end++;
    if (endOfField(text, end, divider) !== end) throw bad('text follows a closing quote');
    return { value, end, breaks: value.split('\n').length - 1 };
  }
}
