import type { VerdictFacts } from '../data.js';
import { h } from './dom.js';

/** What the numbers say, in sentences: before any number. */
export function verdict({ status, summary, findings, next }: VerdictFacts): HTMLElement {
  return h(
    'section',
    { id: 'verdict', attributes: { 'aria-labelledby': 'verdict-title' } },
    h('h2', { id: 'verdict-title' }, 'Verdict'),
    h('p', { class: `summary ${status}` }, summary),
    h(
      'ul',
      { class: 'findings' },
      ...findings.map(({ status: one, text }) =>
        h('li', {}, h('span', { class: `mark ${one}` }, one), h('span', {}, text)),
      ),
    ),
    next.length > 0 && h('h3', {}, 'What to try next'),
    h(
      'ul',
      { class: 'next' },
      ...next.map(({ option, text }) => h('li', {}, h('code', {}, option), `: ${text}`)),
    ),
  );
}
