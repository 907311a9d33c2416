import type { Curve } from './explanation.js';

/** Size of a chart and its margins [top, right, bottom, left], in its own units. */
const [WIDTH, HEIGHT] = [360, 210];
const [TOP, RIGHT, BOTTOM, LEFT] = [10, 22, 34, 44];

/** An SVG chart of a curve and its control; colours come from the page (`.parts`, `.random`). */
export function curveChart({ share, parts, random }: Curve, label: string): string {
  const values = [...parts, ...random].filter(Number.isFinite);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = high - low || 1;
  const x = (value: number): string => (LEFT + value * (WIDTH - LEFT - RIGHT)).toFixed(1);
  const y = (value: number): string =>
    (TOP + ((high - value) / span) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const line = (list: readonly number[], kind: string): string =>
    `<polyline class="${kind}" points="${list.map((v, k) => `${x(share[k] ?? 0)},${y(v)}`).join(' ')}"/>`;
  const ticks = [low, (low + high) / 2, high].map(
    (value) =>
      `<path class="grid" d="M${x(0)} ${y(value)}H${x(1)}"/>` +
      `<text x="${String(LEFT - 6)}" y="${y(value)}" dy="4" text-anchor="end">${value.toFixed(1)}</text>`,
  );
  const shares = [0, 0.5, 1].map(
    (value) =>
      `<text x="${x(value)}" y="${String(HEIGHT - 16)}" text-anchor="middle">` +
      `${String(100 * value)} %</text>`,
  );
  return [
    `<svg class="chart" viewBox="0 0 ${String(WIDTH)} ${String(HEIGHT)}" role="img" `,
    `aria-label="${label}">`,
    ...ticks,
    ...shares,
    `<text x="${x(0.5)}" y="${String(HEIGHT - 2)}" text-anchor="middle">${label}</text>`,
    line(random, 'random'),
    line(parts, 'parts'),
    '</svg>',
  ].join('');
}
