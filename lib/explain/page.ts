import { basename } from 'node:path';
import { VERSION } from '../version.js';
import { curveChart } from './chart.js';
import type { ActivePart, ClassScore, Curve, Explanation, PartGroup } from './explanation.js';
import { escapeText } from './markup.js';
import { colourOf, drawnGroups, groupsApart, labelOf, partOverlay } from './overlay.js';
import { overlays, photograph } from './picture.js';
import { STYLE } from './style.js';

/** Places with a picture of their own. */
const PICTURES = 12;
/** Longer side of the photograph in the page, pixels. */
const SIDE = 900;

/**
 * An explanation as one HTML page that needs nothing else: no script, no font, no network. `image` is
 * what was explained; the page holds its name, not its path.
 */
export async function explanationPage(
  explanation: Explanation,
  image: string | Uint8Array,
): Promise<string> {
  const { width, height } = explanation.frame;
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const side = (length: number): number => Math.max(1, Math.round(length * scale));
  const size = { width: side(width), height: side(height) };
  const url = await photograph(image, size);
  const { prediction, path } = explanation;
  const name = path === undefined ? 'a photograph' : basename(path);
  const title = `${prediction.name}: ${name}`;
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta http-equiv="Content-Security-Policy" ',
    `content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">`,
    `<title>${escapeText(title)}</title><style>${STYLE}</style></head><body>`,
    `<header><p class="kicker">partlens explanation</p><h1>${escapeText(prediction.name)}</h1>`,
    `<p>${escapeText(name)}</p></header><main>`,
    `<section class="top">${picture(explanation, url)}<div>${predictions(explanation)}`,
    `${gifts(explanation)}</div></section>`,
    pictures(explanation),
    partTable(explanation),
    wholes(explanation),
    curves(explanation),
    `</main><footer>partlens ${VERSION}. Share of this score through parts: ${share(explanation.share)}; p = `,
    `${explanation.p.toFixed(3)} is the weight of the parts\u2019 track in the mix, not a share. What parts give `,
    'is measured: parts are switched off, the decoder and the CNN\u2019s own later layers answer again.',
    '</footer></body></html>\n',
  ].join('');
}

function predictions({ prediction, rebuilt, unit, warnings }: Explanation): string {
  const row = (label: string, { name, probability, score }: ClassScore): string =>
    `<tr><th scope="row">${label}</th><td>${escapeText(name)}</td>` +
    `<td class="n">${percent(probability)}</td><td class="n">${score.toFixed(2)}</td></tr>`;
  return [
    '<table class="wide"><thead><tr><th></th><th>class</th><th class="n">probability</th>',
    `<th class="n">${unit}</th></tr></thead><tbody>`,
    row('the CNN', prediction),
    row('from rebuilt features', rebuilt),
    '</tbody></table>',
    ...warnings.map((text) => `<p class="warning" role="note">${escapeText(text)}</p>`),
  ].join('');
}

/** The photograph with the first parts; it is stored here once, the small pictures reuse it. */
function picture(explanation: Explanation, url: string): string {
  const { width, height } = explanation.frame;
  const line = Math.max(width, height) / 250;
  const box = `${String(width)} ${String(height)}`;
  const photo = `width="${String(width)}" height="${String(height)}" preserveAspectRatio="none"`;
  return [
    `<svg class="photo" viewBox="0 0 ${box}" role="img" aria-label="the photograph with its parts">`,
    `<image id="photograph" ${photo} href="${url}"/>`,
    overlays(explanation, line),
    '</svg>',
  ].join('');
}

/** What the drawn parts, the ordinary track and a filter at random give, as bars. */
function gifts(explanation: Explanation): string {
  const { tracks, control, explained, unit } = explanation;
  const drawn = drawnGroups(explanation);
  const rows = [
    ...drawn.map(({ part, others, value }, i) => ({
      name: escapeText(labelOf(part)) + more(others),
      value,
      colour: colourOf(i),
    })),
    { name: 'ordinary track', value: tracks.ordinary, colour: 'var(--soft)' },
    { name: 'control: a filter at random, alone', value: control.random, colour: 'var(--soft)' },
  ];
  const most = Math.max(...rows.map(({ value }) => Math.abs(value)), Number.MIN_VALUE);
  return [
    `<h2>What the parts give to ${escapeText(explained.name)}</h2>`,
    `<p>Shapley values of the ${unit}: what the parts at a place add to others, mean over all orders. `,
    `Of this score ${share(explanation.share)} comes through parts.</p><ul class="gifts">`,
    ...rows.map(
      ({ name, value, colour }) =>
        `<li><span>${name}</span><b>${signed(value)}</b><i style="background:${colour};` +
        `width:${((100 * Math.abs(value)) / most).toFixed(1)}%"></i></li>`,
    ),
    '</ul>',
  ].join('');
}

function more(others: number): string {
  if (others === 0) return '';
  return ` <small>and ${String(others)} more at this place</small>`;
}

/** One small picture for each of the first groups. */
function pictures(explanation: Explanation): string {
  const { frame } = explanation;
  const { width, height } = frame;
  const line = Math.max(width, height) / 80;
  const figures = groupsApart(explanation, PICTURES).map(({ part, others, value }, i) => {
    const overlay = partOverlay(part, frame, { colour: colourOf(i), line, field: true });
    return (
      `<figure><svg viewBox="0 0 ${String(width)} ${String(height)}" role="img" ` +
      `aria-label="${escapeText(labelOf(part))}"><use href="#photograph"/>${overlay}</svg>` +
      `<figcaption>${escapeText(labelOf(part))} <b>${signed(value)}</b>` +
      `${more(others)}</figcaption></figure>`
    );
  });
  if (figures.length === 0) return '';
  return (
    `<section><h2>Place by place</h2><p>The contour is at half of the map’s maximum; the dashed box is ` +
    `what the strongest cell of the CNN’s layer sees. Parts that peak within two cells of each other are ` +
    `one group; the one whose place costs the most is drawn. A question mark: fewer than half of the filter’s peaks are at this part.</p>` +
    `<div class="figures">${figures.join('')}</div></section>`
  );
}

function partTable({ parts, filters, explained, unit }: Explanation): string {
  const most = Math.max(...parts.map(({ alone }) => Math.abs(alone)), Number.MIN_VALUE);
  const row = ({ filter, part, place, strength, alone, removed, group }: ActivePart): string => {
    const width = ((100 * Math.abs(alone)) / most).toFixed(0);
    const kind = alone < 0 ? 'against' : 'for';
    return [
      `<tr><td class="n">${String(filter)}</td><td class="n">${String(group + 1)}</td>`,
      `<td class="n">${signed(alone)}</td>`,
      `<td class="bar"><i class="${kind}" style="width:${width}%"></i></td>`,
      `<td class="n">${signed(removed)}</td>`,
      `<td>${part ? escapeText(part.name) : '\u2013'}</td>`,
      `<td class="n">${part ? percent(part.purity) : '\u2013'}</td>`,
      `<td>${part ? escapeText(part.category) : '\u2013'}</td><td class="n">${strength.toFixed(2)}</td>`,
      `<td class="n">${place.x.toFixed(0)}, ${place.y.toFixed(0)}</td></tr>`,
    ].join('');
  };
  return [
    `<section><h2>${String(parts.length)} of ${String(filters)} filters answer</h2>`,
    `<p>Alone: ${unit} of ${escapeText(explained.name)} that the part alone adds to nothing. Lost around: `,
    'what is lost when it is removed with all parts that peak within two cells; one part removed alone would ',
    'say little, since the next takes its place. Strength: 1 is the mean of the training images. ',
    "Purity: share of the filter's top images ",
    'whose peak is at this part; scored on: the category on which it is strongest.</p>',
    '<div class="scroll" tabindex="0"><table><thead><tr><th class="n">filter</th>',
    '<th class="n">group</th><th class="n">alone</th><th></th><th class="n">lost around</th>',
    '<th>part</th><th class="n">purity</th>',
    '<th>scored on</th><th class="n">strength</th><th class="n">x, y</th></tr></thead>',
    `<tbody>${parts.map(row).join('')}</tbody></table></div></section>`,
  ].join('');
}

function wholes({ tracks, control, groups, shapley }: Explanation): string {
  const rows = [
    ['all parts, Shapley value', tracks.interpretable],
    ['ordinary track, Shapley value', tracks.ordinary],
    ['mean of the best five filters, alone', control.top],
    ['control: a filter at random, alone', control.random],
  ] as const;
  const wholeRows = rows.map(
    ([name, value]) => `<tr><th scope="row">${name}</th><td class="n">${signed(value)}</td></tr>`,
  );
  const groupRows = groups.map(
    ({ filters, value, error, removed }: PartGroup, g) =>
      `<tr><td class="n">${String(g + 1)}</td><td>${shortList(filters)}</td>` +
      `<td class="n">${signed(value)}</td><td class="n">${shapley.exact ? '0' : error.toFixed(3)}</td>` +
      `<td class="n">${signed(removed)}</td></tr>`,
  );
  const how = shapley.exact
    ? 'of all coalitions: exact'
    : 'of random orders, with their standard error';
  return [
    '<section class="two"><div><h2>As a whole</h2><table>',
    ...wholeRows,
    `</table></div><div><h2>Groups</h2><p>Shapley values ${how}. With that of the ordinary track they `,
    'sum to the score minus that of nothing. Removed: what is lost without the group.</p>',
    '<table><thead><tr><th class="n">group</th><th>filters</th><th class="n">value</th>',
    '<th class="n">error</th><th class="n">removed</th></tr></thead>',
    `<tbody>${groupRows.join('')}</tbody></table></div></section>`,
  ].join('');
}

/** `3, 17, 5 and 4 more`. */
function shortList(filters: readonly number[]): string {
  const shown = filters.slice(0, 4).join(', ');
  return filters.length > 4 ? `${shown} and ${String(filters.length - 4)} more` : shown;
}

function share(value: number): string {
  return Number.isFinite(value) ? percent(value) : 'unknown';
}

function curves({ deletion, insertion, unit, explained }: Explanation): string {
  const one = (title: string, curve: Curve, what: string, better: string): string => {
    const { parts, random, deviation } = curve.area;
    const areas = `area ${parts.toFixed(2)}, at random ${random.toFixed(2)} \u00b1 ${deviation.toFixed(2)} (${better})`;
    return `<div><h3>${title}</h3>${curveChart(curve, what)}<p>${areas}</p></div>`;
  };
  return [
    `<section><h2>Against random filters</h2><p>The ${unit} of ${escapeText(explained.name)} `,
    'while filters are switched <span class="key parts">group by group, best first</span> or ',
    '<span class="key random">at random</span>.</p><div class="two">',
    one('Deletion', deletion, 'filters switched off', 'smaller is better'),
    one('Insertion', insertion, 'filters switched on', 'larger is better'),
    '</div></section>',
  ].join('');
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function signed(value: number): string {
  return `${value < 0 ? '\u2212' : '+'}${Math.abs(value).toFixed(3)}`;
}
