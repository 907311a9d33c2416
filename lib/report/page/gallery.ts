import type { FilterFacts, ReportData } from '../data.js';
import { filterCard, type CardContext } from './card.js';
import { bring, byId, h } from './dom.js';
import { count, three } from './format.js';
import { EVERYTHING, partNames, selectFilters, type Selection, type SortKey } from './select.js';

type SetName = Selection['set'];

/** The gallery of filters with its search. */
export class FilterGallery {
  readonly element: HTMLElement;
  readonly #data: ReportData;
  readonly #context: CardContext;
  readonly #list = h('div', { class: 'cards' });
  readonly #status = h('p', { class: 'status', attributes: { role: 'status' } });
  readonly #controls = h('form', { class: 'controls', attributes: { role: 'search' } });
  readonly #sight: IntersectionObserver;
  readonly #waiting = new Map<Element, FilterFacts>();
  #selection: Selection;

  constructor(data: ReportData, context: CardContext) {
    this.#data = data;
    this.#context = context;
    const sort: SortKey = data.scores.instability ? 'stability' : 'strength';
    this.#selection = { ...EVERYTHING, set: 'explainer', sort, duplicates: false };
    this.#sight = new IntersectionObserver((entries) => this.#fill(entries), {
      rootMargin: '1600px',
    });
    this.#controls.addEventListener('submit', (event) => event.preventDefault());
    this.element = h(
      'section',
      { id: 'filters', attributes: { 'aria-labelledby': 'filters-title' } },
      h('h2', { id: 'filters-title' }, 'Filters'),
      h('p', { class: 'note' }, legend(data)),
      this.#controls,
      this.#status,
      this.#list,
    );
    this.#drawControls();
    this.#draw();
  }

  /** Shows one filter, whatever was searched for, and puts the focus on it. */
  show(set: SetName, filter: number): void {
    this.#selection = { ...this.#selection, ...EVERYTHING, set };
    this.#drawControls();
    this.#draw();
    const id = `${set}-${String(filter)}`;
    const place = document.getElementById(id);
    if (place) this.#fillPlace(place);
    bring(byId(id), 'center');
  }

  #change(change: Partial<Selection>): void {
    const other = change.set !== undefined && change.set !== this.#selection.set;
    this.#selection = { ...this.#selection, ...(other ? { part: '' } : {}), ...change };
    if (other) this.#drawControls();
    this.#draw();
  }

  #draw(): void {
    const { set } = this.#selection;
    const filters = selectFilters(this.#data, this.#selection);
    this.#sight.disconnect();
    this.#waiting.clear();
    const places = filters.map((filter) => {
      const place = h('div', { class: 'place', id: `${set}-${String(filter.filter)}` });
      this.#waiting.set(place, filter);
      return place;
    });
    this.#list.replaceChildren(...places);
    for (const place of places) this.#sight.observe(place);
    const all = count(this.#data[set].length, 'filter');
    const shown = filters.length === 0 ? `None of ${all}` : `${String(filters.length)} of ${all}`;
    const hidden = this.#selection.duplicates
      ? ''
      : '; those that repeat a stronger one are hidden';
    this.#status.replaceChildren(shown + hidden);
  }

  /** Draws the cards that come near the screen. */
  #fill(entries: readonly IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.#fillPlace(target);
    }
  }

  #fillPlace(place: Element): void {
    const filter = this.#waiting.get(place);
    if (!filter) return;
    this.#waiting.delete(place);
    this.#sight.unobserve(place);
    place.replaceWith(filterCard(filter, this.#selection.set, this.#context));
  }

  #drawControls(): void {
    const { scores, classes } = this.#data;
    const { set, sort, text, duplicates, dead } = this.#selection;
    const parts = partNames(this.#data[set]);
    const sets = [
      ['explainer', 'the explainer'],
      ['performer', 'the performer'],
    ] as const;
    const numbered = classes.map((name, c) => [String(c), name] as const);
    this.#controls.replaceChildren(
      field(
        'filters of',
        'set',
        choice(sets, set, (value) => this.#change({ set: value })),
      ),
      field('search', 'search', this.#searchBox(text)),
      parts.length > 0
        ? field(
            'part',
            'part',
            choice([['', 'all'], ...parts.map((name) => [name, name] as const)], '', (part) =>
              this.#change({ part }),
            ),
          )
        : '',
      field(
        'strongest in',
        'class',
        choice([['', 'all classes'], ...numbered], '', (value) =>
          this.#change({ class: value === '' ? undefined : Number(value) }),
        ),
      ),
      scores.instability ? this.#limit() : '',
      field(
        'sort by',
        'sort',
        choice(sortKeys(this.#data), sort, (value) => this.#change({ sort: value })),
      ),
      h(
        'div',
        { class: 'ticks' },
        tick('duplicates', duplicates, (on) => this.#change({ duplicates: on })),
        tick('dead filters', dead, (on) => this.#change({ dead: on })),
      ),
    );
  }

  #searchBox(text: string): HTMLElement {
    const attributes = { type: 'search', placeholder: 'number, part, class, file', value: text };
    const box = h('input', { attributes });
    box.addEventListener('input', () => this.#change({ text: box.value }));
    return box;
  }

  /** A slider for the largest instability; at its right end there is no limit. */
  #limit(): HTMLElement {
    const known = this.#data[this.#selection.set].flatMap(({ instability }) => instability ?? []);
    const most = Math.max(...known, 0.001);
    const shown = h('output', {}, 'any');
    const box = h('input', { attributes: { type: 'range', min: 0, max: 100, value: 100 } });
    box.addEventListener('input', () => {
      const limit = box.value === '100' ? undefined : (Number(box.value) / 100) * most;
      shown.replaceChildren(limit === undefined ? 'any' : three(limit));
      this.#change({ most: limit });
    });
    return field('instability up to', 'limit', box, shown);
  }
}

function sortKeys(data: ReportData): (readonly [SortKey, string])[] {
  const landmarks = data.scores.instability !== undefined;
  return [
    ...(landmarks ? ([['stability', 'stability']] as const) : []),
    ...(landmarks ? ([['purity', 'share at its part']] as const) : []),
    ['strength', 'strength'],
    ['share', 'share of photographs'],
    ['number', 'number'],
  ];
}

function legend({ frame, scores }: ReportData): string {
  const [height, width] = frame.field;
  return (
    'The photographs in which each filter is strongest, stretched to a square as the network sees ' +
    `them. Bright: around the strongest cell, fading to the edge of its receptive field (${String(width)} x ` +
    `${String(height)} of ${String(frame.width)} x ${String(frame.height)} pixels). Line: half of the strongest activation. ` +
    'Beside each filter: the filter of the performer that most often peaks at the same place.' +
    (scores.parts
      ? ' A name stands where at least 70 % of the peaks lie inside the part in photographs that had no say in the name; “near” where they are nearest to it and no more.'
      : '')
  );
}

/** A control with its name above and, behind it, what it says. */
function field(name: string, id: string, control: HTMLElement, output?: Node): HTMLElement {
  control.id = id;
  const label = h('label', { attributes: { for: id } }, name);
  return h('div', { class: 'field' }, label, h('div', {}, control, output));
}

function tick(name: string, on: boolean, change: (on: boolean) => void): HTMLElement {
  const checked = on ? '' : undefined;
  const box = h('input', { attributes: { type: 'checkbox', checked } });
  box.addEventListener('change', () => change(box.checked));
  return h('label', { class: 'tick' }, box, name);
}

function choice<Value extends string>(
  options: readonly (readonly [Value, string])[],
  chosen: Value,
  change: (value: Value) => void,
): HTMLElement {
  const box = h(
    'select',
    {},
    ...options.map(([value, text]) =>
      h('option', { attributes: { value, selected: value === chosen ? '' : undefined } }, text),
    ),
  );
  box.addEventListener('change', () => change(box.value as Value));
  return box;
}
