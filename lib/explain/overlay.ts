import { contours } from './contour.js';
import type { ActivePart, Explanation, PartGroup } from './explanation.js';
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

/** A group of parts as it is drawn: the part that leads it, and how many others it has. */
export interface DrawnGroup extends PartGroup {
  part: ActivePart;
  others: number;
}

/** The first `count` groups; the parts that lead them are more than two cells apart. */
export function groupsApart(
  { parts, groups }: Pick<Explanation, 'parts' | 'groups'>,
  count: number,
): DrawnGroup[] {
  const byFilter = new Map(parts.map((part) => [part.filter, part]));
  return groups.slice(0, count).flatMap((group) => {
    const part = byFilter.get(group.filters[0] ?? -1);
    return part ? [{ ...group, part, others: group.filters.length - 1 }] : [];
  });
}

/** Groups that are drawn on the photograph, and the least that they give of what the largest does. */
const [DRAWN, LEAST] = [5, 0.1];

/** The first groups, without those that give next to nothing. */
export function drawnGroups(explanation: Pick<Explanation, 'parts' | 'groups'>): DrawnGroup[] {
  const most = Math.max(...explanation.groups.map(({ value }) => Math.abs(value)));
  return groupsApart(explanation, DRAWN).filter(({ value }) => Math.abs(value) >= LEAST * most);
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
