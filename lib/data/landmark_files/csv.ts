import { parseCsv, separatorOf, type CsvRow } from '../csv.js';
import { badLandmark, type LandmarkRow, type LandmarkRows } from './row.js';

const COLUMNS = ['image', 'category', 'part', 'y', 'x'] as const;
const VISIBLE = ['visible', 'visibility'];
/** How programs write a number that is not there. */
const EMPTY = /^(|nan|na|n\/a|null|none)$/i;
const HIDDEN = /^(0(\.0*)?|false|no)$/i;

/**
 * CSV with a header and the columns image, category, part, y, x in any order, others are passed over; divided
 * by commas, semicolons (numbers may then have a decimal comma) or tabs, perhaps below lines that begin with `#`.
 * y and x are 0-based pixels. A row without both numbers (empty, NaN), and one whose `visible` is 0, marks nothing.
 */
export function parseCsvLandmarks(text: string, path: string): LandmarkRows {
  const comments = /^(?:\ufeff)?(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n?|\n))*/.exec(text)?.[0] ?? '';
  const skipped = comments.split(/\r\n?|\n/).length - 1;
  const body = text.slice(comments.length);
  const separator = separatorOf(/^[^\r\n]*/.exec(body)?.[0] ?? '');
  const rows = parseCsv(body, path, separator);
  for (const row of rows) row.line += skipped;
  const [header, ...lines] = rows;
  const reading = { ...columnsOf(header, path), path, decimalComma: separator === ';' };
  let unmarked = 0;
  const found: LandmarkRow[] = [];
  for (const row of lines) {
    const landmark = landmarkOf(row, reading);
    if (landmark) found.push(landmark);
    else unmarked++;
  }
  return { rows: found, unmarked };
}

interface Columns {
  /** Of image, category, part, y, x. */
  at: readonly number[];
  visibleAt: number;
  needed: number;
}

function columnsOf(header: CsvRow | undefined, path: string): Columns {
  const names = header?.fields.map((name) => name.trim().toLowerCase()) ?? [];
  const missing = COLUMNS.filter((column) => !names.includes(column));
  if (!header || missing.length > 0) {
    const what = `Expected the columns ${COLUMNS.join(',')}`;
    const shown = header?.fields.join(',').slice(0, 80) ?? '';
    const received = header ? `${shown} (no ${missing.join(',')})` : 'nothing';
    throw badLandmark(path, header?.line ?? 1, what, received);
  }
  const at = COLUMNS.map((column) => names.indexOf(column));
  return {
    at,
    visibleAt: names.findIndex((name) => VISIBLE.includes(name)),
    needed: Math.max(...at) + 1,
  };
}

interface Reading extends Columns {
  path: string;
  decimalComma: boolean;
}

/** Undefined where the row says that the part is not there. */
function landmarkOf({ line, fields }: CsvRow, reading: Reading): LandmarkRow | undefined {
  const { at, visibleAt, needed, path, decimalComma } = reading;
  if (fields.length < needed) {
    const received = `only ${String(fields.length)}`;
    throw badLandmark(path, line, `Expected ${String(needed)} fields`, received);
  }
  const [image = '', category = '', part = '', yText = '', xText = ''] = at.map((i) =>
    (fields[i] ?? '').trim(),
  );
  if (image === '' || part === '') {
    throw badLandmark(path, line, 'Expected an image and a part', 'none');
  }
  const hidden = visibleAt >= 0 && HIDDEN.test((fields[visibleAt] ?? '').trim());
  if (hidden || (EMPTY.test(yText) && EMPTY.test(xText))) return undefined;
  const number = (name: string, text: string): number => {
    const value = Number(decimalComma ? text.replace(/^(-?\d+),(\d+)$/, '$1.$2') : text);
    if (text !== '' && Number.isFinite(value)) return value;
    throw badLandmark(path, line, `Expected a number for ${name}`, JSON.stringify(text));
  };
  return { at: line, image, category, part, y: number('y', yText), x: number('x', xText) };
}
