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

/** Photographs of a class without which nothing is said to give most to it. */
const ENOUGH = 10;

/**
 * `ibis +3.88 (14 photographs)`: the class of the largest drop. Only classes of at least 10 photographs that parts
 * carry are looked at; undefined unless the drop is beyond its spread between them, and beyond that of the next
 * class by their standard errors.
 */
export function mostGiven(
  { classes }: Contributions,
  { drops, spread }: Pick<ContributionRow, 'drops' | 'spread'>,
): string | undefined {
  const [first, second] = classes
    .map(({ name, photographs, carried }, k) => {
      return { name, photographs, carried, drop: drops[k] ?? 0, spread: spread[k] ?? Infinity };
    })
    .filter(({ photographs, carried }) => photographs >= ENOUGH && carried >= CARRIED)
    .sort((a, b) => b.drop - a.drop);
  if (!first || !(first.drop > first.spread)) return undefined;
  const error = (of: typeof first): number => of.spread / Math.sqrt(of.photographs);
  const lead = second ? first.drop - second.drop : Infinity;
  if (second && lead <= Math.hypot(error(first), error(second))) return undefined;
  return `${first.name} +${short(first.drop)} (${count(first.photographs, 'photograph')})`;
}

/** Share of the photographs of a class that keep it on the parts alone, from which on parts carry it. */
const CARRIED = 0.5;

/** `Parts alone do not carry jay (3 of 12 photographs keep it).`; undefined where they carry all. */
export function notCarried({ classes }: Contributions): string | undefined {
  const lost = classes
    .filter(({ carried }) => carried < CARRIED)
    .map(({ name, photographs, carried }) => {
      const kept = String(Math.round(carried * photographs));
      return `${name} (${kept} of ${count(photographs, 'photograph')} keep it)`;
    });
  if (lost.length === 0) return undefined;
  return `All parts together do not carry ${lost.join(', ')}: what single parts give to it explains little.`;
}
