import type { ContributionRow, Contributions } from '../data.js';
import { filterLink, type CardContext } from './card.js';
import { h } from './dom.js';
import { count, notCarried, short } from './format.js';

/** The table of what parts give to classes; single filters are drawn when they are asked for. */
export function contributionTable(
  found: Contributions,
  context: Pick<CardContext, 'show'>,
): HTMLElement {
  const filters = found.rows.filter(({ kind }) => kind === 'filter');
  const others = found.rows.filter(({ kind }) => kind !== 'filter');
  const photographs = found.classes.reduce((sum, one) => sum + one.photographs, 0);
  const lost = notCarried(found);
  const single = h(
    'details',
    {},
    h('summary', {}, `single filters, each alone (${String(filters.length)})`),
  );
  single.addEventListener(
    'toggle',
    () => single.append(new SortedTable(found, filters, context).element),
    { once: true },
  );
  return h(
    'section',
    { id: 'classes', attributes: { 'aria-labelledby': 'classes-title' } },
    h('h2', { id: 'classes-title' }, 'What parts give to classes'),
    h(
      'p',
      { class: 'note' },
      `The part maps of a row are switched off, the features rebuilt without them and given to the performer’s own head: the mean drop of the class’s ${found.unit}, over ${count(photographs, 'photograph')}, each in the column of the class that the head says. A row is one intervention; rows do not add up. Single filters are measured alone, added to nothing: removed one by one they would say little, since the next one takes its place.`,
    ),
    lost !== undefined && h('p', { class: 'note failed', attributes: { role: 'note' } }, lost),
    new SortedTable(found, others, context).element,
    single,
  );
}

/** Rows in the order of a column, or as they came. */
class SortedTable {
  readonly element: HTMLElement;
  readonly #found: Contributions;
  readonly #rows: readonly ContributionRow[];
  readonly #context: Pick<CardContext, 'show'>;
  readonly #body = h('tbody');
  #column: number | undefined;

  constructor(
    found: Contributions,
    rows: readonly ContributionRow[],
    context: Pick<CardContext, 'show'>,
  ) {
    this.#found = found;
    this.#rows = rows;
    this.#context = context;
    const heads = found.classes.map(({ name, photographs }, column) => {
      const sort = (): void => this.#sort(column);
      const label = `${name}: sort by this class, ${count(photographs, 'photograph')}`;
      const attributes = { title: label, 'aria-label': label };
      const button = h('button', { class: 'link', attributes, on: { click: sort } }, name);
      const of = h('small', {}, ` ${String(photographs)}`);
      return h('th', { attributes: { scope: 'col' } }, button, of);
    });
    const table = h(
      'table',
      { class: 'matrix' },
      h('thead', {}, h('tr', {}, h('td'), ...heads)),
      this.#body,
    );
    const attributes = { tabindex: 0, role: 'region', 'aria-label': 'contributions' };
    this.element = h('div', { class: 'scroll', attributes }, table);
    this.#draw();
  }

  #sort(column: number): void {
    this.#column = this.#column === column ? undefined : column;
    this.#draw();
  }

  #draw(): void {
    const column = this.#column;
    const rows =
      column === undefined
        ? this.#rows
        : [...this.#rows].sort((a, b) => (b.drops[column] ?? 0) - (a.drops[column] ?? 0));
    const own = this.#rows.filter(({ kind }) => kind !== 'control');
    const most = Math.max(...own.flatMap(({ drops }) => drops.map(Math.abs)), 1e-12);
    this.#body.replaceChildren(...rows.map((row) => this.#row(row, most)));
  }

  #row({ kind, name, filters, drops, spread }: ContributionRow, most: number): HTMLElement {
    const [filter] = filters;
    const head =
      kind === 'filter' && filter !== undefined
        ? filterLink('explainer', filter, this.#context)
        : kind === 'part'
          ? `${name} (${count(filters.length, 'filter')})`
          : name;
    const cells = drops.map((drop, k) => {
      const share = Math.max(-1, Math.min(1, drop / most));
      const of = this.#found.classes[k];
      const wide = spread[k] === null ? '' : ` ± ${short(spread[k] ?? 0)}`;
      const photographs = count(of?.photographs ?? 0, 'photograph');
      const title = `${name}, ${of?.name ?? ''}: ${short(drop)}${wide} between ${photographs}`;
      return h(
        'td',
        {
          class: share < 0 ? 'less' : 'more',
          attributes: { title },
          style: { '--share': String(Math.abs(share)) },
        },
        short(drop),
      );
    });
    return h('tr', { class: kind }, h('th', { attributes: { scope: 'row' } }, head), ...cells);
  }
}
