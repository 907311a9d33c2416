import { cellDistance } from '../evaluate/metrics/index.js';
import { REACH, type MeasuredFilter } from '../evaluate/part_contributions.js';

/**
 * Parts of one image in groups by place: the part whose removal with its neighbours costs the most leads the
 * first group, of all parts that peak within two cells of it; of those left the next, and so on. Each group
 * begins with its part that leads it; no two leading parts are within two cells of each other.
 */
export function groupParts<Part extends MeasuredFilter>(
  parts: readonly Part[],
  columns: number,
): Part[][] {
  const order = [...parts].sort(
    (a, b) => b.removed - a.removed || b.alone - a.alone || a.filter - b.filter,
  );
  const groups: Part[][] = [];
  let left = order;
  while (left.length > 0) {
    const [lead] = left;
    if (!lead) break;
    const near = ({ cell }: Part): boolean => cellDistance(lead.cell, cell, columns) <= REACH;
    groups.push(left.filter(near));
    left = left.filter((part) => !near(part));
  }
  return groups;
}
