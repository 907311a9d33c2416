import type { FilterFacts, ReportData } from '../data.js';
import { h } from './dom.js';
import { short } from './format.js';
import { drawSpot } from './picture.js';

/** A filter's photographs, large, one after the other: arrow keys turn the pages, Escape closes. */
export class Viewer {
  readonly #data: ReportData;
  readonly #dialog: HTMLDialogElement;
  readonly #picture = h('div', { class: 'large' });
  readonly #text = h('p', { attributes: { 'aria-live': 'polite' } });
  #name = '';
  #filter: FilterFacts | undefined;
  #place = 0;

  constructor(data: ReportData) {
    this.#data = data;
    const turn = (by: number) => () => this.#turn(by);
    this.#dialog = h(
      'dialog',
      { class: 'viewer', attributes: { 'aria-label': 'photograph' } },
      this.#picture,
      this.#text,
      h(
        'div',
        { class: 'buttons' },
        h('button', { on: { click: turn(-1) } }, '← previous'),
        h('button', { on: { click: turn(1) } }, 'next →'),
        h('button', { on: { click: () => this.#dialog.close() } }, 'close'),
      ),
    );
    this.#dialog.addEventListener('keydown', ({ key }) => {
      if (key === 'ArrowRight') this.#turn(1);
      if (key === 'ArrowLeft') this.#turn(-1);
    });
    this.#dialog.addEventListener('click', ({ target }) => {
      if (target === this.#dialog) this.#dialog.close();
    });
    document.body.append(this.#dialog);
  }

  /** Opens at one of the filter's photographs. */
  open(filter: FilterFacts, name: string, place: number): void {
    this.#filter = filter;
    this.#name = name;
    this.#place = place;
    this.#show();
    this.#dialog.showModal();
  }

  #turn(by: number): void {
    const total = this.#filter?.spots.length ?? 1;
    this.#place = (this.#place + by + total) % total;
    this.#show();
  }

  #show(): void {
    const spot = this.#filter?.spots[this.#place];
    const picture = this.#data.pictures[spot?.picture ?? -1];
    if (!spot || !picture) return;
    const { frame } = this.#data;
    this.#picture.replaceChildren(drawSpot({ picture, spot, frame }));
    const place = `${String(this.#place + 1)} of ${String(this.#filter?.spots.length ?? 0)}`;
    const how = `activation ${short(spot.activation)}`;
    this.#text.replaceChildren(`${this.#name}, ${place}: ${picture.image}, ${how}`);
  }
}
