import { printable } from '../explain/markup.js';

/**
 * Rows of cells as aligned columns. Numbers (also `-` and `3/64`) stand to the right, and so do the heads
 * of the first row above columns of nothing but numbers.
 */
export function table(given: readonly (readonly string[])[]): string {
  const rows = given.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  }
  const numeric = (cell = ''): boolean => /^([-+]?[\d.]+%?(\/\d+)?|-)$/.test(cell);
  const body = rows.slice(1);
  const numbers = widths.map((_, i) => body.length > 0 && body.every((row) => numeric(row[i])));
  return rows
    .map((row, r) =>
      row
        .map((cell, i) => {
          const right = numeric(cell) || (r === 0 && numbers[i]);
          return right ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
