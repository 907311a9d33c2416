import type { FilterFacts, ReportData } from '../data.js';
import { filterLink, type CardContext } from './card.js';
import { h } from './dom.js';
import { count } from './format.js';

/** Filters that say the same, and filters that say nothing. */
export function duplicatesSection(
  { explainer }: ReportData,
  context: Pick<CardContext, 'show'>,
): HTMLElement {
  const groups = new Map<number, FilterFacts[]>();
  for (const filter of explainer) {
    if (filter.duplicateOf === undefined) continue;
    groups.set(filter.duplicateOf, [...(groups.get(filter.duplicateOf) ?? []), filter]);
  }
  const dead = explainer.filter((filter) => filter.dead);
  const links = (filters: readonly number[]): Node[] =>
    filters.flatMap((filter, i) => [
      ...(i > 0 ? [document.createTextNode(', ')] : []),
      filterLink('explainer', filter, context, String(filter)),
    ]);
  const repeats = [...groups].sort((a, b) => b[1].length - a[1].length || a[0] - b[0]);
  return h(
    'section',
    { id: 'duplicates', attributes: { 'aria-labelledby': 'duplicates-title' } },
    h('h2', { id: 'duplicates-title' }, 'Duplicates and dead filters'),
    h(
      'p',
      { class: 'note' },
      'A filter repeats a stronger one when, in its strongest photographs, most of their peaks are neighbours and their activations go together.',
    ),
    repeats.length === 0 ? h('p', {}, 'No filter repeats another.') : undefined,
    h(
      'ul',
      { class: 'groups' },
      ...repeats.map(([kept, twins]) =>
        h(
          'li',
          {},
          filterLink('explainer', kept, context),
          ` is repeated by ${count(twins.length, 'filter')}: `,
          ...links(twins.map(({ filter }) => filter)),
        ),
      ),
    ),
    dead.length === 0
      ? h('p', {}, 'Every filter fires.')
      : h(
          'p',
          {},
          `${count(dead.length, 'filter')} never fire: `,
          ...links(dead.map(({ filter }) => filter)),
        ),
  );
}
