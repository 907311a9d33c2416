import { diagonalOf } from '../data/image_size.js';
import type { Annotations } from '../data/landmarks.js';
import {
  cellCentre,
  checkPeaks,
  topImages,
  TOP_IMAGES,
  type Grid,
  type InstabilityInput,
} from './metrics/index.js';

/** Whether peaks lie inside the part, or nearer to it than to other landmarks and no more. */
export type Bearing = 'inside' | 'near';

/** The name that a filter bears in the photographs of one category. */
export interface PartName {
  /** Empty where landmarks have none. */
  category: string;
  part: string;
  at: Bearing;
  /** Share of the photographs that checked the name in which it holds, 0.7..1. */
  purity: number;
  /** How many these were, at least 10. */
  photographs: number;
}

/** A name holds in at least this share of at least so many photographs kept out of the naming. */
export const [PURITY, PHOTOGRAPHS] = [0.7, 10];
/** Largest extent of a part, and of one that never has another beside it; how near is near: of the diagonal. */
const [LARGEST, ALONE, NEAR] = [0.1, 0.05, 0.15];
/** Filters that are named in one turn of the event loop. */
const AT_ONCE = 16;

/** `head`, or `near head`: the one way in which names are told, in text, pages, pictures and JSON. */
export function labelOfName({ part, at }: Pick<PartName, 'part' | 'at'>): string {
  return at === 'inside' ? part : `near ${part}`;
}

/**
 * Names of filters, at most one for each category with landmarks, that photographs bear out which had no say in
 * the naming. Of the annotated photographs of a category every other one names, the rest check; of both count
 * the 100 in which the filter is strongest, none in which it is silent.
 *
 *   nearest(p)   the landmark of the photograph nearest to the filter's peak p
 *   extent(l)    half the distance from l to the nearest other landmark of the photograph, at most 0.1 of the
 *                diagonal, at least half a cell's diagonal; where l is alone, the median of its category
 *   inside       nearest(p) = l and |p - l| <= extent(l)      near   nearest(p) = l and |p - l| <= 0.15
 *
 * The most frequent part of the first half is the filter's name if it holds in at least 0.7 of the second, of at
 * least 10 photographs: `inside`, else `near` by the same rule, else none. Throws `E_SHAPE`.
 */
export async function namesOfFilters(input: InstabilityInput): Promise<PartName[][]> {
  const { peaks, annotations, grid } = input;
  checkPeaks(peaks, annotations.category.length, grid);
  const sides = sidesOfCategories(annotations);
  const extents = extentsOf(annotations, grid);
  const names: PartName[][] = [];
  for (let f = 0; f < peaks.filters; f++) {
    if (f % AT_ONCE === 0) await new Promise(setImmediate);
    names.push(sides.flatMap((side) => nameIn(side, f, { ...input, extents }) ?? []));
  }
  return names;
}

/** Annotated photographs of a category: those that name, and those that check. */
interface Side {
  category: number;
  naming: Int32Array;
  checking: Int32Array;
}

function sidesOfCategories({ categories, category, parts, y }: Annotations): Side[] {
  const P = parts.length;
  return categories.map((_, c) => {
    const own = Array.from(category.keys()).filter(
      (n) => category[n] === c && y.subarray(n * P, (n + 1) * P).some((v) => !Number.isNaN(v)),
    );
    const half = (rest: number): Int32Array =>
      Int32Array.from(own.filter((_, i) => i % 2 === rest));
    return { category: c, naming: half(0), checking: half(1) };
  });
}

interface Naming extends InstabilityInput {
  /** (images, parts), pixels; NaN where the part is not annotated. */
  extents: Float64Array;
}

function nameIn(
  { category, naming, checking }: Side,
  filter: number,
  given: Naming,
): PartName | undefined {
  const { peaks, annotations } = given;
  const strongest = (images: Int32Array): number[] =>
    [...topImages(peaks, filter, images, TOP_IMAGES)].filter(
      (n) => (peaks.value[n * peaks.filters + filter] ?? 0) > 0,
    );
  const checked = strongest(checking);
  if (checked.length < PHOTOGRAPHS) return undefined;
  const first = strongest(naming).map((n) => meets(n, filter, given));
  const second = checked.map((n) => meets(n, filter, given));
  for (const at of ['inside', 'near'] as const) {
    const part = mostFrequent(first.map((met) => met[at]));
    const purity = second.filter((met) => met[at] === part).length / second.length;
    if (part < 0 || purity < PURITY) continue;
    return {
      category: annotations.categories[category] ?? '',
      part: annotations.parts[part] ?? '',
      at,
      purity,
      photographs: second.length,
    };
  }
  return undefined;
}

/** Parts in which, and near which, a filter peaks in a photograph; -1 for none. */
function meets(
  image: number,
  filter: number,
  { peaks, annotations, grid, extents }: Naming,
): Record<Bearing, number> {
  const { parts, y, x, size } = annotations;
  const [py, px] = cellCentre(grid, peaks.cell[image * peaks.filters + filter] ?? 0);
  let [nearest, least] = [-1, Infinity];
  for (let part = 0; part < parts.length; part++) {
    const at = image * parts.length + part;
    const distance = Math.hypot(py - (y[at] ?? NaN), px - (x[at] ?? NaN));
    if (distance < least) [nearest, least] = [part, distance];
  }
  const extent = extents[image * parts.length + nearest] ?? NaN;
  return {
    inside: least <= extent ? nearest : -1,
    near: least <= NEAR * diagonalOf(size) ? nearest : -1,
  };
}

function mostFrequent(parts: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const part of parts) if (part >= 0) counts.set(part, (counts.get(part) ?? 0) + 1);
  const [best] = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  return best?.[0] ?? -1;
}

/** How far each part reaches in each photograph. */
function extentsOf(annotations: Annotations, grid: Grid): Float64Array {
  const { categories, category, parts, y, x, size } = annotations;
  const P = parts.length;
  const diagonal = diagonalOf(size);
  const least = Math.hypot(...grid.stride) / 2;
  const bounded = (extent: number): number => Math.max(least, Math.min(LARGEST * diagonal, extent));
  const extents = y.map((own, at) => {
    const first = at - (at % P);
    let gap = Infinity;
    for (let other = first; other < first + P; other++) {
      const distance = Math.hypot(own - (y[other] ?? NaN), (x[at] ?? NaN) - (x[other] ?? NaN));
      if (other !== at && distance < gap) gap = distance;
    }
    return Number.isNaN(own) ? NaN : gap / 2;
  });
  const usual = categories.map((_, c) =>
    parts.map((_, part) => {
      const known = Array.from(category.keys())
        .filter((n) => category[n] === c)
        .map((n) => extents[n * P + part] ?? NaN)
        .filter(Number.isFinite)
        .sort((a, b) => a - b);
      return known[known.length >> 1] ?? ALONE * diagonal;
    }),
  );
  return extents.map((extent, at) => {
    if (Number.isNaN(extent)) return NaN;
    const typical = usual[category[Math.floor(at / P)] ?? 0]?.[at % P] ?? NaN;
    return bounded(extent < Infinity ? extent : typical);
  });
}
