import { printable } from '../explain/markup.js';

/** Rows of cells as aligned columns; numbers (and `-`) to the right. */
export function table(given: readonly (readonly string[])[]): string {
  const rows = given.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  }
  const numeric = (cell: string): boolean => /^([-+]?[\d.]+%?|-)$/.test(cell);
  return rows
    .map((row) =>
      row
        .map((cell, i) =>
          numeric(cell) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
