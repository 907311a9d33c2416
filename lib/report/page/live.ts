import 'uplot/dist/uPlot.min.css';
import './style.css';
import type { LiveData, LiveState } from '../live_data.js';
import { CurveChart } from './curves.js';
import { byId, h, pageData } from './dom.js';
import { percent } from './format.js';
import { drawSpot } from './picture.js';

const WORDS: Record<LiveState, string> = {
  running: 'running',
  paused: 'paused: the run waits after its current step',
  stopping: 'stopping: a checkpoint is kept',
  ended: 'ended: this page keeps what it last saw',
};

/** The page of a run that goes on elsewhere: it shows what it is told, and asks to pause or stop. */
class LivePage {
  readonly #data: Partial<LiveData> = {};
  readonly #state = h('p', { class: 'state', attributes: { role: 'status' } }, 'connecting');
  readonly #status = h('p', { class: 'note' });
  readonly #bar = h('progress', { attributes: { max: 1, 'aria-label': 'share of the run' } });
  readonly #pause = h('button', { on: { click: () => this.#togglePause() } }, 'pause');
  readonly #stop = h('button', { on: { click: () => this.#askStop() } }, 'stop');
  readonly #charts = h('div', { class: 'charts' });
  readonly #step = h('p', { class: 'note' }, 'No part pictures yet.');
  readonly #parts = h('div', { class: 'live-parts' });
  #drawn: CurveChart[] = [];

  constructor(title: string) {
    byId('page').replaceChildren(
      h(
        'header',
        {},
        h('p', { class: 'kicker' }, 'partlens live view'),
        h('h1', {}, title),
        this.#state,
        this.#bar,
        this.#status,
        h('div', { class: 'buttons' }, this.#pause, this.#stop),
      ),
      h('section', {}, h('h2', {}, 'Parts now'), this.#step, this.#parts),
      h('section', {}, h('h2', {}, 'Curves'), this.#charts),
    );
  }

  /** Follows the run until it ends. */
  follow(): void {
    const source = new EventSource('events');
    for (const event of ['all', 'progress', 'state', 'pictures', 'parts', 'problem']) {
      source.addEventListener(event, ({ data }: MessageEvent<string>) => {
        this.#take(JSON.parse(data) as Partial<LiveData>);
        if (this.#data.state === 'ended') source.close();
      });
    }
    source.addEventListener('error', () => {
      if (this.#data.state === 'ended') return;
      this.#state.textContent = 'no connection: the run has ended, or goes on without this page';
    });
  }

  #take(change: Partial<LiveData>): void {
    Object.assign(this.#data, change);
    const { state = 'running', status = '', share = 0 } = this.#data;
    this.#state.textContent = WORDS[state];
    this.#status.textContent = `${percent(share)} · ${status.replace(/ {2,}/g, ' · ')}`;
    this.#bar.value = share;
    this.#pause.textContent = state === 'paused' ? 'go on' : 'pause';
    this.#pause.disabled = this.#stop.disabled = state === 'stopping' || state === 'ended';
    if (change.curves) this.#drawCurves();
    if (change.parts) this.#drawParts();
    if (change.problem !== undefined) this.#step.textContent = change.problem;
  }

  #drawCurves(): void {
    const { curves = [] } = this.#data;
    if (this.#drawn.length !== curves.length) {
      this.#drawn = curves.map((curve) => new CurveChart(curve));
      this.#charts.replaceChildren(...this.#drawn.map(({ element }) => element));
    } else {
      this.#drawn.forEach((chart, i) => {
        const curve = curves[i];
        if (curve) chart.update(curve);
      });
    }
  }

  #drawParts(): void {
    const { parts, pictures = [], frame } = this.#data;
    if (!parts || !frame || parts.step === 0) return;
    this.#step.textContent = `After step ${String(parts.step)}, on ${String(pictures.length)} photographs of the training set.`;
    this.#parts.replaceChildren(
      ...parts.filters.map(({ filter, spots }) =>
        h(
          'figure',
          {},
          h('figcaption', {}, `filter ${String(filter)}`),
          spots.length === 0 && h('p', { class: 'note' }, 'fires in none of them'),
          h(
            'div',
            { class: 'strip' },
            ...spots.flatMap((spot) => {
              const picture = pictures[spot.picture];
              return picture ? [drawSpot({ picture, spot, frame })] : [];
            }),
          ),
        ),
      ),
    );
  }

  #togglePause(): void {
    this.#ask(this.#data.state === 'paused' ? 'resume' : 'pause');
  }

  #askStop(): void {
    this.#ask('stop');
  }

  #ask(command: string): void {
    fetch(command, { method: 'POST' }).catch(() => {
      this.#state.textContent = 'no connection: the run could not be asked';
    });
  }
}

const { title } = pageData() as { title: string };
new LivePage(title).follow();
