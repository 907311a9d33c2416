import { contours } from './contour.js';
import type { ActivePart, Explanation, Place } from './explanation.js';
import { toPhotograph, type Frame } from '../performer/place.js';

/** Colours that stay apart for most eyes, on dark and on light ground [Okabe, Ito 2008]. */
const COLOURS = ['#e69f00', '#56b4e9', '#009e73', '#f0e442', '#d55e00', '#cc79a7', '#0072b2'];

/** Colour of the part at a place of the list. */
export function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length] ?? '#e69f00';
}

/** `head · filter 12`; with a question mark where fewer than half of its peaks are at that part. */
export function labelOf({ filter, part }: Pick<ActivePart, 'filter' | 'part'>): string {
  const name = part ? `${part.name}${part.purity < 0.5 ? '?' : ''} \u00b7 ` : '';
  return `${name}filter ${String(filter)}`;
}

/** A part that is drawn, and how many others peak where it does. */
export interface DrawnPart {
  part: ActivePart;
  others: number;
}

/**
 * The first `count` parts whose peaks are neither in the same nor in touching cells, so that contours do
 * not lie upon each other; each of the others counts for the nearest.
 */
export function partsApart(
  parts: readonly ActivePart[],
  { geometry, input, width, height }: Frame,
  count: number,
): DrawnPart[] {
  const reach = [
    (1.5 * geometry.stride[0] * height) / input.height,
    (1.5 * geometry.stride[1] * width) / input.width,
  ];
  const apart = (a: Place, b: Place): number =>
    Math.max(Math.abs(a.y - b.y) / (reach[0] ?? 1), Math.abs(a.x - b.x) / (reach[1] ?? 1));
  const drawn: DrawnPart[] = [];
  const rest = parts.filter((part) => {
    if (drawn.some((one) => apart(one.part.place, part.place) < 1)) return true;
    drawn.push({ part, others: 0 });
    return false;
  });
  for (const { place } of rest) {
    const distances = drawn.map(({ part }) => apart(part.place, place));
    const nearest = drawn[distances.indexOf(Math.min(...distances))];
    if (nearest) nearest.others++;
  }
  return drawn.slice(0, count);
}

/** Parts that are drawn on the photograph. */
const DRAWN = 5;

/** The first parts, apart from each other, that give at least as much as a filter at random. */
export function drawnParts({
  parts,
  frame,
  control,
}: Pick<Explanation, 'parts' | 'frame' | 'control'>): DrawnPart[] {
  return partsApart(parts, frame, DRAWN).filter(
    ({ part }) => Math.abs(part.contribution) >= control.randomSize,
  );
}

export interface OverlayOptions {
  colour: string;
  /** Width of the line, in pixels of the photograph. */
  line: number;
  /** Show what the strongest cell of the performer's layer sees, default false. */
  field?: boolean;
}

/**
 * SVG of one part on its photograph (in pixels of the photograph): the contour at half of its map's
 * maximum and a dot at its strongest cell.
 */
export function partOverlay(
  { map, place }: Pick<ActivePart, 'map' | 'place'>,
  frame: Frame,
  { colour, line, field = false }: OverlayOptions,
): string {
  const short = (value: number): string => value.toFixed(1);
  const path = contours(map, frame)
    .map((polygon) => {
      const points = polygon.map(([column, row]) => toPhotograph(frame, column, row));
      return `M${points.map(([x, y]) => `${short(x)} ${short(y)}`).join('L')}Z`;
    })
    .join('');
  const { left, top, width, height } = place.field;
  const box =
    `<rect x="${short(left)}" y="${short(top)}" width="${short(width)}" height="${short(height)}" ` +
    `fill="none" stroke="${colour}" stroke-width="${short(line / 2)}" ` +
    `stroke-dasharray="${short(2 * line)}"/>`;
  const dot = (radius: number, fill: string): string =>
    `<circle cx="${short(place.x + 0.5)}" cy="${short(place.y + 0.5)}" r="${short(radius)}" ` +
    `fill="${fill}"/>`;
  const stroke = (width: number, colour: string, more: string): string =>
    `<path d="${path}" stroke="${colour}" stroke-width="${short(width)}" ` +
    `stroke-linejoin="round" ${more}/>`;
  return [
    stroke(2 * line, '#000', `fill="${colour}" fill-opacity="0.18" stroke-opacity="0.55"`),
    stroke(line, colour, 'fill="none"'),
    field ? box : '',
    dot(2 * line, '#000'),
    dot(1.4 * line, colour),
  ].join('');
}
