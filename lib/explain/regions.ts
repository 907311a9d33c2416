import { cellDistance } from '../evaluate/metrics/index.js';
import type { MeasuredFilter } from '../evaluate/part_contributions.js';
import type { ActivePart } from './explanation.js';

/**
 * Cells between the peaks of a region's filters and that of the filter that leads it, at most: no two filters of a
 * region are more than two cells apart, whatever lies between them.
 */
export const REGION = 1;

/**
 * Filters of one image in regions by place: the filter whose removal with its neighbours costs the most leads the
 * first region, of all filters that peak within one cell of it; of those left the next, and so on. Each region
 * begins with the filter that leads it.
 */
export function regionsOf<Part extends MeasuredFilter>(
  parts: readonly Part[],
  columns: number,
): Part[][] {
  const order = [...parts].sort(
    (a, b) => b.removed - a.removed || b.alone - a.alone || a.filter - b.filter,
  );
  const regions: Part[][] = [];
  let left = order;
  while (left.length > 0) {
    const [lead] = left;
    if (!lead) break;
    const near = ({ cell }: Part): boolean => cellDistance(lead.cell, cell, columns) <= REGION;
    regions.push(left.filter(near));
    left = left.filter((part) => !near(part));
  }
  return regions;
}

/**
 * The name of a region: the part in which filters lie that have at least half of what its filters give alone (in
 * size), or `near` the part in or near which these are; undefined where there is none, or two.
 */
export function nameOfRegion(
  members: readonly Pick<ActivePart, 'part' | 'alone'>[],
): string | undefined {
  const whole = members.reduce((sum, { alone }) => sum + Math.abs(alone), 0);
  const named = (inside: boolean): string[] => {
    const weights = new Map<string, number>();
    for (const { part, alone } of members) {
      if (!part || (inside && part.at !== 'inside')) continue;
      weights.set(part.name, (weights.get(part.name) ?? 0) + Math.abs(alone));
    }
    return [...weights]
      .filter(([, weight]) => weight > 0 && weight >= whole / 2)
      .map(([name]) => name);
  };
  const [inside, near] = [named(true), named(false)];
  if (inside.length > 0) return inside.length === 1 ? inside[0] : undefined;
  return near.length === 1 ? `near ${near[0] ?? ''}` : undefined;
}

const ROWS = ['upper', 'middle', 'lower'] as const;
const COLUMNS = ['left', 'middle', 'right'] as const;

/** Where a place lies in the photograph, by thirds: `upper left`, `middle`, `lower middle`. */
export function placeInWords(
  { x, y }: { x: number; y: number },
  { width, height }: { width: number; height: number },
): string {
  const third = (value: number, of: number): number =>
    Math.min(2, Math.max(0, Math.floor((3 * (value + 0.5)) / of)));
  const [row, column] = [ROWS[third(y, height)] ?? 'middle', COLUMNS[third(x, width)] ?? 'middle'];
  return row === 'middle' && column === 'middle' ? 'middle' : `${row} ${column}`;
}
