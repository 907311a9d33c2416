import type { ContributionRow, Contributions } from '../data.js';

/** Numbers as the page shows them; `-` for what cannot be told. */
export function three(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : value.toFixed(3);
}

/** Three significant digits, without an exponent for ordinary sizes. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (value === 0) return '0';
  if (size >= 1e5 || size < 1e-4) return value.toExponential(1);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

/** A share 0..1 in percent. */
export function percent(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : `${(100 * value).toFixed(0)} %`;
}

/** `1 photograph`, `2 photographs`. */
export function count(n: number, what: string): string {
  return `${String(n)} ${what}${n === 1 ? '' : 's'}`;
}

/** `ibis +3.88`: the class of the largest drop; undefined where none is positive. */
export function mostGiven(
  { classes }: Contributions,
  { drops }: ContributionRow,
): string | undefined {
  const most = drops.indexOf(Math.max(...drops));
  const drop = drops[most] ?? 0;
  return drop > 0 ? `${classes[most]?.name ?? ''} +${short(drop)}` : undefined;
}
