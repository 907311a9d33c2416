import type { ComparedSet, ReportData } from '../data.js';
import { h } from './dom.js';
import { three } from './format.js';

const COLUMNS: readonly (readonly [head: string, of: (set: ComparedSet) => string])[] = [
  ['location instability', ({ location }) => three(location)],
  ['vector instability', ({ vector }) => three(vector)],
  ['R2 of distinct filters', ({ r2 }) => three(r2)],
  ['of R2 > 0.3', ({ above, distinct }) => `${String(above)}/${String(distinct)}`],
  ['all-category ratio', ({ allCategoryRatio }) => three(allCategoryRatio)],
  ['categories served', ({ served }) => String(served)],
];

/** Whether filters follow parts, in a line; behind it the same scores of every control. */
export function comparison({ comparison: found }: ReportData): HTMLElement | undefined {
  if (!found) return undefined;
  const { sets, fooledBy } = found;
  const r2 = (name: string): string => three(sets.find((set) => set.name === name)?.r2);
  const line = `R2, the share of a part’s movement that a filter goes along with: ${r2('layer2')}; untrained ${r2('untrained')}, smoothed energy ${r2('energy')}, a fixed point ${r2('fixedPositionBest')}.`;
  return h(
    'details',
    { id: 'comparison' },
    h('summary', {}, line),
    h(
      'div',
      { class: 'scroll', attributes: { tabindex: 0, role: 'region', 'aria-label': 'scores' } },
      h(
        'table',
        { class: 'compared' },
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            h('td'),
            ...COLUMNS.map(([head]) => h('th', { attributes: { scope: 'col' } }, head)),
          ),
        ),
        h(
          'tbody',
          {},
          ...sets.map((set) =>
            h(
              'tr',
              {},
              h('th', { attributes: { scope: 'row' } }, set.title),
              ...COLUMNS.map(([, of]) => h('td', {}, of(set))),
            ),
          ),
        ),
      ),
    ),
    h(
      'p',
      { class: 'note' },
      `What fools each score: ${fooledBy.map(([score, by]) => `${score}: ${by}`).join('. ')}.`,
    ),
  );
}
