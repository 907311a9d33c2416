import { basename } from 'node:path';
import { VERSION } from '../version.js';
import { curveChart } from './chart.js';
import type { ClassScore, Curve, Explanation } from './explanation.js';
import { escapeText } from './markup.js';
import { colourOf, drawnRegions, labelOfRegion } from './overlay.js';
import { percent, share, signed, signedBar } from './page_parts.js';
import { overlays, photograph } from './picture.js';
import { regionList } from './region_list.js';
import { scoreInWords } from './sentence.js';
import { STYLE } from './style.js';

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
    `<p>${escapeText(name)}</p><p class="sentence">${escapeText(explanation.sentence)}</p></header><main>`,
    `<section class="top">${picture(explanation, url)}<div>${predictions(explanation)}`,
    `${gifts(explanation)}</div></section>`,
    regionList(explanation),
    wholes(explanation),
    curves(explanation),
    `</main><footer>partlens ${VERSION}. Share of this score through parts: ${share(explanation.share)}; p = `,
    `${explanation.p.toFixed(3)} is the parts\u2019 share of the rebuilt features, not of the score. What parts give `,
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

/** What the drawn regions, the ordinary track and a filter at random give, as signed bars. */
function gifts(explanation: Explanation): string {
  const { tracks, control, regions } = explanation;
  const drawn = drawnRegions(explanation);
  const rest = regions.filter((_, r) => !drawn.some(({ index }) => index === r));
  const left = rest.reduce((sum, { value }) => sum + value, 0);
  const rows = [
    ...drawn.map((region) => ({
      name: labelOfRegion(region),
      value: region.value,
      colour: colourOf(region.index),
    })),
    ...(rest.length > 0
      ? [{ name: `${String(rest.length)} more`, value: left, colour: 'var(--soft)' }]
      : []),
    { name: 'ordinary track', value: tracks.ordinary, colour: 'var(--soft)' },
    { name: 'control: a filter at random, alone', value: control.random, colour: 'var(--soft)' },
  ];
  const most = Math.max(...rows.map(({ value }) => Math.abs(value)), Number.MIN_VALUE);
  return [
    '<h2>Which region mattered</h2>',
    `<p>Shapley values of the ${escapeText(scoreInWords(explanation))}: what each region adds to others, `,
    `mean over all orders; to the right of the line for the class, to the left against it. Of this score `,
    `${share(explanation.share)} comes through parts.</p><ul class="gifts">`,
    ...rows.map(
      ({ name, value, colour }) =>
        `<li><span>${escapeText(name)}</span><b>${signed(value)}</b>${signedBar(value, most, colour)}</li>`,
    ),
    '</ul>',
  ].join('');
}

function wholes({ tracks, control, shapley }: Explanation): string {
  const rows = [
    ['all regions, Shapley value', tracks.interpretable],
    ['ordinary track, Shapley value', tracks.ordinary],
    ['mean of the best five filters, alone', control.top],
    ['control: a filter at random, alone', control.random],
  ] as const;
  const wholeRows = rows.map(
    ([name, value]) => `<tr><th scope="row">${name}</th><td class="n">${signed(value)}</td></tr>`,
  );
  const how = shapley.exact
    ? 'of all coalitions: exact'
    : 'of random orders, with their standard error';
  return [
    '<section><h2>As a whole</h2>',
    `<p>Shapley values ${how}. Those of all regions and of the ordinary track sum to the score minus that of `,
    `nothing.</p><table>${wholeRows.join('')}</table></section>`,
  ].join('');
}

function curves(explanation: Explanation): string {
  const { deletion, insertion } = explanation;
  const one = (title: string, curve: Curve, what: string, better: string): string => {
    const { parts, random, deviation } = curve.area;
    const areas = `area ${parts.toFixed(2)}, at random ${random.toFixed(2)} \u00b1 ${deviation.toFixed(2)} (${better})`;
    return `<div><h3>${title}</h3>${curveChart(curve, what)}<p>${areas}</p></div>`;
  };
  return [
    `<section><h2>Against random filters</h2><p>The ${escapeText(scoreInWords(explanation))} `,
    'while filters are switched <span class="key parts">region by region, best first</span> or ',
    '<span class="key random">at random</span>.</p><div class="two">',
    one('Deletion', deletion, 'filters switched off', 'smaller is better'),
    one('Insertion', insertion, 'filters switched on', 'larger is better'),
    '</div></section>',
  ].join('');
}
