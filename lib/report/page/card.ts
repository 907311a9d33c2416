import type { FilterFacts, ReportData } from '../data.js';
import { h } from './dom.js';
import { count, mostGiven, percent, short, three } from './format.js';
import { drawSpot } from './picture.js';
import type { Viewer } from './viewer.js';

export interface CardContext {
  data: ReportData;
  viewer: Viewer;
  /** Shows the card of another filter. */
  show: (set: 'explainer' | 'performer', filter: number) => void;
}

/** One filter: its facts, its photographs and, for the explainer's, the nearest performer's filter's. */
export function filterCard(
  filter: FilterFacts,
  set: 'explainer' | 'performer',
  context: CardContext,
): HTMLElement {
  const { data } = context;
  const nearest = filter.nearest && data.performer[filter.nearest.filter];
  return h(
    'article',
    {
      class: `card ${set}`,
      id: `${set}-${String(filter.filter)}`,
      attributes: { tabindex: -1, 'aria-label': `${set} filter ${String(filter.filter)}` },
    },
    facts(filter, set, context),
    h('div', { class: 'strip' }, ...pictures(filter, set, context)),
    filter.nearest &&
      nearest &&
      h(
        'div',
        { class: 'nearest' },
        h(
          'p',
          {},
          'performer: ',
          filterLink('performer', nearest.filter, context),
          `, same place in ${percent(filter.nearest.share)}`,
          data.scores.instability ? ` · instability ${three(nearest.instability)}` : '',
        ),
        h('div', { class: 'strip' }, ...pictures(nearest, 'performer', context)),
      ),
  );
}

/** A button that leads to a filter. */
export function filterLink(
  set: 'explainer' | 'performer',
  filter: number,
  { show }: Pick<CardContext, 'show'>,
  text = `filter ${String(filter)}`,
): HTMLElement {
  const attributes = { 'aria-label': `filter ${String(filter)}` };
  return h('button', { class: 'link', attributes, on: { click: () => show(set, filter) } }, text);
}

function facts(
  filter: FilterFacts,
  set: 'explainer' | 'performer',
  context: CardContext,
): HTMLElement {
  const { part, classes, duplicateOf, dead } = filter;
  const named = classes.map((one) => context.data.classes[one.class] ?? '').join(', ');
  const { contributions } = context.data;
  const row = contributions.rows.find(
    ({ kind, filters }) => kind === 'filter' && filters[0] === filter.filter,
  );
  const gift = set === 'explainer' && row ? mostGiven(contributions, row) : undefined;
  const repeats = context.data[set].filter((other) => other.duplicateOf === filter.filter).length;
  const entry = (name: string, value: Node | string): HTMLElement =>
    h('div', {}, h('dt', {}, name), h('dd', {}, value));
  return h(
    'div',
    { class: 'facts' },
    h('h3', {}, `filter ${String(filter.filter)}`),
    part && h('p', { class: 'part' }, part.label),
    dead && h('p', { class: 'badge' }, 'never fires'),
    duplicateOf !== undefined &&
      h('p', { class: 'badge' }, 'repeats ', filterLink(set, duplicateOf, context)),
    h(
      'dl',
      {},
      context.data.scores.instability && entry('instability', three(filter.instability)),
      part &&
        entry(
          part.at === 'inside' ? 'peaks in the part' : 'peaks nearest to it',
          `${percent(part.purity)} of ${count(part.photographs, 'photograph')}`,
        ),
      filter.category !== '' && entry('scored on', filter.category),
      entry('strong in', `${percent(filter.share)} of all`),
      named !== '' && entry('strongest in', named),
      gift !== undefined && entry('gives most to', gift),
      entry('strength', short(filter.strength)),
      repeats > 0 && entry('repeated by', count(repeats, 'filter')),
    ),
  );
}

function pictures(
  filter: FilterFacts,
  set: 'explainer' | 'performer',
  { data, viewer }: CardContext,
): HTMLElement[] {
  const { frame } = data;
  const name = `${set} filter ${String(filter.filter)}`;
  return filter.spots.flatMap((spot, place) => {
    const picture = data.pictures[spot.picture];
    if (!picture) return [];
    const label = `${picture.image}, activation ${short(spot.activation)}`;
    return [
      h(
        'button',
        {
          class: 'picture',
          attributes: { 'aria-label': label, title: label },
          on: { click: () => viewer.open(filter, name, place) },
        },
        drawSpot({ picture, spot, frame }),
      ),
    ];
  });
}
