import { contours } from './contour.js';
import type { ActivePart, Explanation, Region } from './explanation.js';
import { toPhotograph, type Frame } from '../performer/place.js';

/** Colours that stay apart for most eyes, on dark and on light ground [Okabe, Ito 2008]. */
const COLOURS = ['#e69f00', '#56b4e9', '#009e73', '#f0e442', '#d55e00', '#cc79a7', '#0072b2'];

/** Colour of the part at a place of the list. */
export function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length] ?? '#e69f00';
}

/** `head · filter 12`; `near head · filter 12` where its peaks are nearest to this part and no more. */
export function labelOf({ filter, part }: Pick<ActivePart, 'filter' | 'part'>): string {
  const name = part ? `${part.label} \u00b7 ` : '';
  return `${name}filter ${String(filter)}`;
}

/** `head`, or where it lies: `upper left`; with its filters, `4 filters`. */
export function labelOfRegion({ name, where, filters }: Region): string {
  const count = `${String(filters.length)} filter${filters.length === 1 ? '' : 's'}`;
  return `${name ?? where} \u00b7 ${count}`;
}

/** A region as it is drawn. */
export interface DrawnRegion extends Region {
  /** Its place in the list: its colour. */
  index: number;
  /** The filter that leads it. */
  part: ActivePart;
}

/** Every region with the filter that leads it; no two of these are within one cell of each other. */
export function regionsApart({
  parts,
  regions,
}: Pick<Explanation, 'parts' | 'regions'>): DrawnRegion[] {
  const byFilter = new Map(parts.map((part) => [part.filter, part]));
  return regions.flatMap((region, index) => {
    const part = byFilter.get(region.filters[0] ?? -1);
    return part ? [{ ...region, index, part }] : [];
  });
}

/** Regions that are drawn on the photograph, and the least that they give of what the largest does. */
const [DRAWN, LEAST] = [5, 0.1];

/** Those that matter most, for or against the class, in their order. */
export function drawnRegions(explanation: Pick<Explanation, 'parts' | 'regions'>): DrawnRegion[] {
  const size = ({ value }: Region): number => Math.abs(value);
  const sorted = regionsApart(explanation).sort((a, b) => size(b) - size(a) || a.index - b.index);
  const most = sorted[0] ? size(sorted[0]) : 0;
  return sorted
    .slice(0, DRAWN)
    .filter((region) => size(region) >= LEAST * most)
    .sort((a, b) => a.index - b.index);
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
