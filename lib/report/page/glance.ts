import type { FilterFacts, ReportData } from '../data.js';
import type { CardContext } from './card.js';
import { h } from './dom.js';
import { mostGiven, three } from './format.js';
import { drawSpot } from './picture.js';
import { firstFilters } from './select.js';

/** Photographs of each filter. */
const PHOTOGRAPHS = 4;

/** The most stable filter of each part, before anything has to be searched for. */
export function glance(data: ReportData, context: Pick<CardContext, 'show'>): HTMLElement {
  const chosen = firstFilters(data.explainer);
  const named = chosen.some(({ part }) => part);
  return h(
    'section',
    { id: 'glance', attributes: { 'aria-labelledby': 'glance-title' } },
    h('h2', { id: 'glance-title' }, named ? 'Parts at a glance' : 'Filters at a glance'),
    h(
      'p',
      { class: 'note' },
      chosen.length === 0
        ? 'No filter fires.'
        : named
          ? 'The most stable filter of each part, in the photographs in which it is strongest.'
          : 'The strongest filters that repeat no other, each in its strongest photographs.',
    ),
    h('div', { class: 'glances' }, ...chosen.map((filter) => one(filter, data, context))),
  );
}

function one(
  filter: FilterFacts,
  data: ReportData,
  { show }: Pick<CardContext, 'show'>,
): HTMLElement {
  const { part, instability } = filter;
  const name = part?.label ?? `filter ${String(filter.filter)}`;
  const row = data.contributions.rows.find((found) =>
    part ? found.kind === 'part' && found.name === part.name : found.filters[0] === filter.filter,
  );
  const gift = row && mostGiven(data.contributions, row);
  return h(
    'button',
    {
      class: 'glance',
      attributes: { title: `show filter ${String(filter.filter)}` },
      on: { click: () => show('explainer', filter.filter) },
    },
    h(
      'span',
      { class: 'quad' },
      ...filter.spots.slice(0, PHOTOGRAPHS).flatMap((spot) => {
        const picture = data.pictures[spot.picture];
        return picture ? [drawSpot({ picture, spot, frame: data.frame })] : [];
      }),
    ),
    h('span', { class: 'name' }, name),
    instability !== null && h('span', { class: 'small' }, `instability ${three(instability)}`),
    gift && h('span', { class: 'small' }, `gives most to ${gift}`),
  );
}
