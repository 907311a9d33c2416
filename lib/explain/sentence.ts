import type { Explanation, Region } from './explanation.js';

/** What a sentence is made from. */
type Facts = Pick<Explanation, 'explained' | 'regions' | 'tracks' | 'contrast'>;

/** `the region at the head`, `the region in the upper left (filter 12 and 3 more)`. */
export function regionInWords({
  name,
  where,
  filters,
}: Pick<Region, 'name' | 'where' | 'filters'>): string {
  if (name !== undefined) {
    return name.startsWith('near ')
      ? `the region near the ${name.slice(5)}`
      : `the region at the ${name}`;
  }
  const more = filters.length > 1 ? ` and ${String(filters.length - 1)} more` : '';
  return `the region in the ${where} (filter ${String(filters[0] ?? 0)}${more})`;
}

/**
 * Which region mattered: `dog rather than cat mostly because of the region at the head: +2.1 of 3.0`. The numbers
 * are Shapley values of the difference of both scores, of all that regions and ordinary track add to nothing;
 * `mostly` from half of it on.
 */
export function sentenceOf({ explained, regions, tracks, contrast }: Facts): string {
  const claim = contrast
    ? `${explained.name} rather than ${contrast.than.name}`
    : `The score of ${explained.name} is what it is`;
  const total = contrast?.total ?? tracks.interpretable + tracks.ordinary;
  const ordinary = contrast?.ordinary ?? tracks.ordinary;
  const sources = [
    ...regions.map((region) => {
      return { words: regionInWords(region), value: region.rather ?? region.value };
    }),
    { words: 'the ordinary track, which has no parts', value: ordinary },
  ];
  const first = sources.reduce((most, next) => (next.value > most.value ? next : most));
  if (!(total > 0) || !(first.value > 0)) {
    const against = contrast ? claim : explained.name;
    return `Nothing in the rebuilt features speaks for ${against}: all together give ${signed(total)}.`;
  }
  const how = first.value >= total / 2 ? 'mostly because of' : 'first of all because of';
  const rest = first.value > total ? ` (all else: ${signed(total - first.value)})` : '';
  return `${claim} ${how} ${first.words}: ${signed(first.value)} of ${total.toFixed(1)}${rest}.`;
}

/** `logit of dog`, `logit of dog less that of cat`. */
export function scoreInWords({
  unit,
  explained,
  versus,
}: Pick<Explanation, 'unit' | 'explained' | 'versus'>): string {
  const less = versus ? ` less that of ${versus.name}` : '';
  return `${unit} of ${explained.name}${less}`;
}

function signed(value: number): string {
  return `${value < 0 ? '\u2212' : '+'}${Math.abs(value).toFixed(1)}`;
}
