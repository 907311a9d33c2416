import {
  cellCentre,
  findDuplicates,
  topImages,
  TOP_IMAGES,
  type Grid,
  type Peaks,
} from '../evaluate/metrics/index.js';
import type { Annotations } from '../data/landmarks.js';
import type { FilterScores } from '../evaluate/filter_scores.js';
import { labelOfName, type PartName } from '../evaluate/part_naming.js';
import { sidesOf, type ImageSize } from '../data/image_size.js';
import { contourPath, thousandths } from './contour.js';
import type { FilterFacts, Spot } from './data.js';
import type { Gallery, Strong } from './gallery.js';

/** Everything that is known of one set of filters. */
export interface FilterSources {
  gallery: Gallery;
  grid: Grid;
  /** Of the network's input, pixels. */
  size: ImageSize;
  /** Class of each photograph of the gallery. */
  classOf: Int32Array;
  /** Their names. */
  classes: readonly string[];
  /** On the annotated photographs. */
  scored?:
    { scores: FilterScores; names: readonly PartName[][]; annotations: Annotations } | undefined;
  /** The performer's filters, where they are another set. */
  performer?: Gallery;
  /** Index in the page of a photograph of the gallery. */
  pictureOf: (image: number) => number;
  /** Photographs that are shown of each filter. */
  shown: number;
}

/** Facts of all filters of a set, in their order. */
export function filterFacts(sources: FilterSources): FilterFacts[] {
  const { gallery, grid, scored, performer } = sources;
  const { peaks } = gallery;
  const images = Int32Array.from({ length: peaks.images }, (_, n) => n);
  const tops = gallery.strongest.map((strong, f) =>
    strong.length === 0 ? new Int32Array(0) : topImages(peaks, f, images, TOP_IMAGES),
  );
  const category = Int32Array.from(gallery.strongest, (strong) => (strong.length === 0 ? -1 : 0));
  const duplicateOf =
    scored?.scores.parts.duplicateOf ?? findDuplicates({ peaks, grid, category, tops });
  return gallery.strongest.map((strong, f) => {
    const strength = mean(strong.map(({ activation }) => activation));
    const twin = duplicateOf[f] ?? -1;
    return {
      filter: f,
      instability: finite(scored?.scores.perFilter[f]),
      category: categoryOf(sources, f),
      part: partOf(sources, f),
      strength: significant(strength),
      share: significant(shareAbove(peaks, f, strength / 2)),
      classes: strongestClasses(sources, f),
      duplicateOf: twin < 0 ? undefined : twin,
      dead: strong.length === 0,
      nearest: performer && nearestFilter(peaks, performer.peaks, { f, grid, top: tops[f] }),
      spots: strong.slice(0, sources.shown).map((one) => spotOf(one, f, sources)),
    };
  });
}

/** Category on which a filter is scored. */
function categoryOf({ scored }: FilterSources, f: number): string {
  return scored?.annotations.categories[scored.scores.category[f] ?? -1] ?? '';
}

/**
 * Its name in the category of most photographs that are shown, of at least half of them; with that category, unless
 * the name is the same in those of all.
 */
function partOf(sources: FilterSources, f: number): FilterFacts['part'] {
  const { scored, gallery, shown, classOf, classes } = sources;
  const names = scored?.names[f] ?? [];
  const strongest = (gallery.strongest[f] ?? []).slice(0, shown);
  const categories = strongest.map(({ image }) => classes[classOf[image] ?? -1] ?? '');
  const own = names.find(({ category }) => {
    if (!classes.includes(category)) return category === categoryOf(sources, f); // not those of folders
    return categories.filter((other) => other === category).length * 2 >= categories.length;
  });
  if (!own) return undefined;
  const label = labelOfName(own);
  const everywhere = categories.every((category) => {
    const there = names.find((name) => name.category === category);
    return there !== undefined && labelOfName(there) === label;
  });
  const { part: name, at, purity, photographs, category } = own;
  return {
    ...{ name, at, purity: significant(purity), photographs },
    label: everywhere || category === '' ? label : `${label} of ${category}`,
  };
}

/** Where filter `f` fires in one of its strongest photographs. */
export function spotOf(
  { image, activation, map }: Strong,
  f: number,
  sources: Pick<FilterSources, 'gallery' | 'grid' | 'size' | 'pictureOf'>,
): Spot {
  const { gallery, grid, size, pictureOf } = sources;
  const [height, width] = sidesOf(size);
  const [y, x] = cellCentre(grid, gallery.peaks.cell[image * gallery.peaks.filters + f] ?? 0);
  return {
    picture: pictureOf(image),
    activation: significant(activation),
    x: thousandths(x, width),
    y: thousandths(y, height),
    contour: contourPath(map, { grid, size, level: activation / 2 }),
  };
}

function shareAbove({ images, filters, value }: Peaks, f: number, least: number): number {
  let count = 0;
  for (let n = 0; n < images; n++) {
    const activation = value[n * filters + f] ?? 0;
    if (activation > 0 && activation >= least) count++;
  }
  return count / images;
}

function strongestClasses(
  { gallery, classOf, classes }: FilterSources,
  f: number,
): FilterFacts['classes'] {
  const { images, filters, value } = gallery.peaks;
  const sums = new Float64Array(classes.length);
  const counts = new Float64Array(classes.length);
  for (let n = 0; n < images; n++) {
    const c = classOf[n] ?? 0;
    sums[c] = (sums[c] ?? 0) + Math.max(0, value[n * filters + f] ?? 0);
    counts[c] = (counts[c] ?? 0) + 1;
  }
  return Array.from(sums, (sum, c) => ({ class: c, activation: sum / (counts[c] ?? 1) }))
    .filter(({ activation }) => activation > 0)
    .sort((a, b) => b.activation - a.activation || a.class - b.class)
    .slice(0, 3)
    .map(({ class: c, activation }) => ({ class: c, activation: significant(activation) }));
}

/**
 * The other set's filter whose peak is in the same or a touching cell in the largest share of the
 * photographs; of equals the first.
 */
export function nearestFilter(
  own: Peaks,
  other: Peaks,
  { f, grid, top = new Int32Array(0) }: { f: number; grid: Grid; top?: Int32Array | undefined },
): FilterFacts['nearest'] {
  if (top.length === 0) return undefined;
  const counts = new Float64Array(other.filters);
  for (const n of top) {
    const cell = own.cell[n * own.filters + f] ?? 0;
    const [row, column] = [Math.floor(cell / grid.columns), cell % grid.columns];
    for (let g = 0; g < other.filters; g++) {
      const at = n * other.filters + g;
      if (!((other.value[at] ?? 0) > 0)) continue;
      const there = other.cell[at] ?? 0;
      const near =
        Math.abs(Math.floor(there / grid.columns) - row) <= 1 &&
        Math.abs((there % grid.columns) - column) <= 1;
      if (near) counts[g] = (counts[g] ?? 0) + 1;
    }
  }
  const best = counts.reduce((found, count, g) => (count > (counts[found] ?? 0) ? g : found), 0);
  const most = counts[best] ?? 0;
  return most > 0 ? { filter: best, share: significant(most / top.length) } : undefined;
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Null for what is not a number. */
export function finite(value: number | undefined): number | null {
  return value === undefined || !Number.isFinite(value) ? null : value;
}

/** Four significant digits: what a page can show. */
export function significant(value: number): number {
  return Number(value.toPrecision(4));
}
