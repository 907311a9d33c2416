import type { ActivePart, Explanation, Region } from '../explain/explanation.js';
import { printable } from '../explain/markup.js';
import { scoreInWords } from '../explain/sentence.js';
import { table } from './table.js';

/** Filters that are listed beneath each region. */
const FILTERS = 3;

/** The explanation for people: which region mattered, the first `top` regions with their filters, tracks, curves. */
export function showExplanation(explanation: Explanation, top: number): string {
  const { prediction, rebuilt, unit, parts, regions, tracks, control, sentence } = explanation;
  const heads = table([
    ['', 'class', 'probability', unit],
    ['performer', prediction.name, percent(prediction.probability), prediction.score.toFixed(2)],
    ['rebuilt', rebuilt.name, percent(rebuilt.probability), rebuilt.score.toFixed(2)],
  ]);
  const rest = regions.length > top ? `; the first ${String(top)}` : '';
  const whole = table([
    ['all regions, Shapley value', signed(tracks.interpretable)],
    ['ordinary track, Shapley value', signed(tracks.ordinary)],
    ['share of this score through parts', percent(explanation.share)],
    ["p, the parts' share of the rebuilt features", explanation.p.toFixed(3)],
    ['control: a filter at random, alone', signed(control.random)],
    ['mean of the best five filters, alone', signed(control.top)],
  ]);
  return [
    printable(sentence),
    heads,
    `${String(parts.length)} of ${String(explanation.filters)} part filters answer, in ` +
      `${String(regions.length)} region${regions.length === 1 ? '' : 's'}${rest}.\n` +
      `of a region: its Shapley value, and what is lost when it is removed; ${printable(scoreInWords(explanation))}\n` +
      'of a filter: what it adds alone to nothing, and what is lost when it is removed with all within one cell',
    ...(regions.length > 0 ? [showRegions(explanation, top)] : []),
    whole,
    showCurves(explanation),
  ].join('\n\n');
}

/** A row for each of the first regions, with its filters beneath. */
function showRegions({ regions, parts, shapley }: Explanation, top: number): string {
  const most = Math.max(...regions.map(({ value }) => Math.abs(value)), Number.MIN_VALUE);
  const rows = regions.slice(0, top).flatMap((region, r) => {
    const members = parts.filter((part) => part.region === r);
    const more = members.length - FILTERS;
    return [
      regionRow(region, { most, exact: shapley.exact, lead: members, r }),
      ...members.slice(0, FILTERS).map(filterRow),
      ...(more > 0 ? [[`  and ${String(more)} more`]] : []),
    ];
  });
  return table([['region', 'part', 'x', 'y', 'value', '', 'for or against', 'lost'], ...rows]);
}

function regionRow(
  { filters, name, where, value, error, removed }: Region,
  {
    most,
    exact,
    lead,
    r,
  }: { most: number; exact: boolean; lead: readonly ActivePart[]; r: number },
): string[] {
  const place = lead.find(({ filter }) => filter === filters[0])?.place;
  return [
    `${String(r + 1)} ${where}`,
    name ?? '-',
    (place?.x ?? NaN).toFixed(0),
    (place?.y ?? NaN).toFixed(0),
    signed(value),
    exact ? 'exact' : `+- ${error.toFixed(3)}`,
    bar(value / most),
    signed(removed),
  ];
}

function filterRow({ filter, part, place, alone, removed }: ActivePart): string[] {
  const at = [place.x.toFixed(0), place.y.toFixed(0)];
  return [
    `  filter ${String(filter)}`,
    part?.label ?? '-',
    ...at,
    signed(alone),
    'alone',
    '',
    signed(removed),
  ];
}

/** `     |###`, `  ###|`: a share -1..1 to the right of the middle, or to the left. */
function bar(share: number): string {
  const length = 8;
  const marks = '#'.repeat(Math.round(length * Math.min(1, Math.abs(share))));
  return share < 0
    ? `${marks.padStart(length)}|${' '.repeat(length)}`
    : `${' '.repeat(length)}|${marks.padEnd(length)}`;
}

/** Both curves at a few shares, with their areas. */
function showCurves(explanation: Explanation): string {
  const { deletion, insertion } = explanation;
  const rows = [
    ['off: best parts', deletion.share, deletion.parts, deletion.area.parts],
    ['off: at random', deletion.share, deletion.random, deletion.area.random],
    ['on: best parts', insertion.share, insertion.parts, insertion.area.parts],
    ['on: at random', insertion.share, insertion.random, insertion.area.random],
  ] as const;
  const shares = [0, 0.1, 0.25, 0.5, 1];
  const title = [scoreInWords(explanation), ...shares.map((share) => `${String(100 * share)}%`)];
  const body = rows.map(([name, share, values, area]) => {
    const at = shares.map((wanted) => values[nearest(share, wanted)] ?? NaN);
    return [name, ...at.map((value) => value.toFixed(2)), area.toFixed(2)];
  });
  return table([[...title, 'area'], ...body]);
}

function nearest(shares: readonly number[], wanted: number): number {
  const distance = shares.map((share) => Math.abs(share - wanted));
  return distance.indexOf(Math.min(...distance));
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(3)}`;
}

function percent(share: number): string {
  return Number.isNaN(share) ? '-' : `${(100 * share).toFixed(1)}%`;
}
