import 'uplot/dist/uPlot.min.css';
import './style.css';
import type { ReportData } from '../data.js';
import type { CardContext } from './card.js';
import { configurationSection } from './configuration.js';
import { CurveChart } from './curves.js';
import { bring, byId, h, pageData } from './dom.js';
import { duplicatesSection } from './duplicates.js';
import { FilterGallery } from './gallery.js';
import { glance } from './glance.js';
import { contributionTable } from './matrix.js';
import { overview } from './overview.js';
import { Viewer } from './viewer.js';

/** Draws the whole report. */
function draw(data: ReportData): void {
  const context: CardContext = {
    data,
    viewer: new Viewer(data),
    show: (set, filter) => gallery.show(set, filter),
  };
  const gallery = new FilterGallery(data, context);
  byId('page').replaceChildren(
    overview(data),
    glance(data, context),
    navigation(),
    gallery.element,
    contributionTable(data.contributions, context),
    trainingSection(data),
    duplicatesSection(data, context),
    configurationSection(data),
  );
  document.addEventListener('keydown', (event) => {
    const typing = event.target instanceof HTMLElement && event.target.matches('input, select');
    if (event.key !== '/' || typing || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    document.getElementById('search')?.focus();
  });
}

function navigation(): HTMLElement {
  const places = [
    ['filters', 'Filters'],
    ['classes', 'Classes'],
    ['training', 'Training'],
    ['duplicates', 'Duplicates'],
    ['run', 'The run'],
  ] as const;
  return h(
    'nav',
    { attributes: { 'aria-label': 'sections' } },
    ...places.map(([id, name]) => {
      const click = (event: Event): void => {
        event.preventDefault();
        history.replaceState(undefined, '', `#${id}`);
        const place = byId(id);
        place.tabIndex = -1;
        bring(place, 'start');
      };
      return h('a', { attributes: { href: `#${id}` }, on: { click } }, name);
    }),
  );
}

function trainingSection({ curves }: ReportData): HTMLElement {
  return h(
    'section',
    { id: 'training', attributes: { 'aria-labelledby': 'training-title' } },
    h('h2', { id: 'training-title' }, 'Training'),
    h(
      'p',
      { class: 'note' },
      'Each term of the loss over the steps of training. Drag over a chart to zoom, double-click to see all of it again.',
    ),
    h('div', { class: 'charts' }, ...curves.map((curve) => new CurveChart(curve).element)),
  );
}

draw(pageData() as ReportData);
