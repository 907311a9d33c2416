import type { FilterFacts, ReportData } from '../data.js';

/** What the gallery shows, and in which order. */
export interface Selection {
  set: 'explainer' | 'performer';
  text: string;
  /** Name of a part; empty: all. */
  part: string;
  /** Index of the class in which filters are strongest, or undefined for all. */
  class: number | undefined;
  /** Largest location instability, or undefined for no limit. */
  most: number | undefined;
  sort: SortKey;
  duplicates: boolean;
  dead: boolean;
}

export type SortKey = 'stability' | 'strength' | 'share' | 'purity' | 'number';

export const EVERYTHING: Omit<Selection, 'set' | 'sort'> = {
  text: '',
  part: '',
  class: undefined,
  most: undefined,
  duplicates: true,
  dead: true,
};

/** The filters of a selection, in its order; those that cannot be compared come last. */
export function selectFilters(
  data: Pick<ReportData, 'explainer' | 'performer' | 'classes' | 'pictures'>,
  selection: Selection,
): FilterFacts[] {
  const { part, class: wanted, most, duplicates, dead } = selection;
  const words = selection.text.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = data[selection.set].filter(
    (filter) =>
      (part === '' || filter.part?.name === part) &&
      (wanted === undefined || filter.classes[0]?.class === wanted) &&
      (most === undefined || (filter.instability !== null && filter.instability <= most)) &&
      (duplicates || filter.duplicateOf === undefined) &&
      (dead || !filter.dead) &&
      words.every((word) => matches(filter, word, data)),
  );
  const key = keyOf(selection.sort);
  return chosen.sort((a, b) => key(a) - key(b) || a.filter - b.filter);
}

/** Names of the parts of a set of filters, sorted. */
export function partNames(filters: readonly FilterFacts[]): string[] {
  return [...new Set(filters.flatMap(({ part }) => (part ? [part.name] : [])))].sort();
}

/** A number is a filter's number; other words are found in part, category, classes, file names. */
function matches(
  filter: FilterFacts,
  word: string,
  { classes, pictures }: Pick<ReportData, 'classes' | 'pictures'>,
): boolean {
  if (/^#?\d+$/.test(word)) return Number(word.replace('#', '')) === filter.filter;
  const texts = [
    filter.part?.label,
    filter.category,
    ...filter.classes.map((one) => classes[one.class]),
    ...filter.spots.map(({ picture }) => pictures[picture]?.image),
  ];
  return texts.some((text) => text?.toLowerCase().includes(word) ?? false);
}

function keyOf(sort: SortKey): (filter: FilterFacts) => number {
  switch (sort) {
    case 'stability':
      return ({ instability, dead }) => (dead ? 2e9 : (instability ?? 1e9));
    case 'strength':
      return ({ strength }) => -strength;
    case 'share':
      return ({ share }) => -share;
    case 'purity':
      return ({ part }) => -(part?.purity ?? -1);
    case 'number':
      return ({ filter }) => filter;
  }
}

/** Filters that are shown first of all. */
const FIRST = 6;
/** The most stable filter of each part; without names the strongest filters that repeat no other. */
export function firstFilters(filters: readonly FilterFacts[]): FilterFacts[] {
  const own = filters.filter(({ dead, duplicateOf }) => !dead && duplicateOf === undefined);
  const best = new Map<string, FilterFacts>();
  for (const filter of own) {
    const { part, instability } = filter;
    if (part?.at !== 'inside' || instability === null) continue;
    const other = best.get(part.name)?.instability ?? Infinity;
    if (instability < other) best.set(part.name, filter);
  }
  const chosen =
    best.size > 0
      ? [...best.values()].sort((a, b) => (a.instability ?? 0) - (b.instability ?? 0))
      : own.sort((a, b) => b.strength - a.strength || a.filter - b.filter);
  return chosen.slice(0, FIRST);
}
