/** Rows of cells as aligned columns; numbers (and `-`) to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  }
  const numeric = (cell: string): boolean => /^(-?[\d.]+%?|-)$/.test(cell);
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
