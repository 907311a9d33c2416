import type { ReportData } from '../data.js';
import { h } from './dom.js';

/** Versions, files, network and options of the run. */
export function configurationSection({ configuration }: ReportData): HTMLElement {
  return h(
    'section',
    { id: 'run', attributes: { 'aria-labelledby': 'run-title' } },
    h('h2', { id: 'run-title' }, 'The run'),
    h(
      'div',
      { class: 'groups-of-entries' },
      ...configuration.map(({ group, entries }) =>
        h(
          'section',
          {},
          h('h3', {}, group),
          h(
            'dl',
            { class: 'entries' },
            ...entries.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
          ),
        ),
      ),
    ),
  );
}
