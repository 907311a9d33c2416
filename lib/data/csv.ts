import { PartlensError } from '../errors.js';

export interface CsvRow {
  /** Line of the text where the row begins, from 1. */
  line: number;
  fields: string[];
}

/**
 * Parses comma-separated values (RFC 4180): fields may be quoted, with `""` for a quote and with commas
 * and line breaks inside; lines end in LF or CRLF. Empty lines and a byte order mark are left out.
 * Throws `E_FILE` with the line for a quote that is not closed or stands within a field.
 */
export function parseCsv(text: string, path: string): CsvRow[] {
  const rows: CsvRow[] = [];
  let at = text.startsWith('\ufeff') ? 1 : 0;
  let line = 1;
  let row: CsvRow = { line, fields: [] };
  while (at < text.length) {
    const { value, end, breaks } = readField(text, at, { path, line });
    row.fields.push(value);
    line += breaks;
    at = end + 1;
    if (text[end] === ',' && at < text.length) continue;
    if (text[end] === ',') row.fields.push(''); // the text ends with a comma
    if (text[end] === '\r') at++;
    if (row.fields.length > 1 || row.fields[0] !== '') rows.push(row);
    row = { line: ++line, fields: [] };
  }
  return rows;
}

interface Field {
  value: string;
  /** Position of the comma, line end or end of text behind the field. */
  end: number;
  /** Line breaks inside. */
  breaks: number;
}

function readField(text: string, start: number, at: { path: string; line: number }): Field {
  const bad = (what: string): PartlensError =>
    new PartlensError('E_FILE', `${at.path}, line ${String(at.line)}: ${what}.`);
  if (text[start] !== '"') {
    const pattern = /,|\r\n|\n|$/g;
    pattern.lastIndex = start;
    const end = pattern.exec(text)?.index ?? text.length;
    return { value: text.slice(start, end), end, breaks: 0 };
  }
  let value = '';
  for (let from = start + 1; ;) {
    const quote = text.indexOf('"', from);
    if (quote < 0) throw bad('a quote is not closed');
    value += text.slice(from, quote);
    if (text[quote + 1] !== '"') {
      if (!/^(,|\r\n|\n|$)/.test(text.slice(quote + 1, quote + 3))) {
        throw bad('text follows a closing quote');
      }
      return { value, end: quote + 1, breaks: value.split('\n').length - 1 };
    }
    value += '"';
    from = quote + 2;
  }
}
