import { VERSION } from '../version.js';
import type { Explanation } from './explanation.js';
import { escapeText } from './markup.js';
import { colourOf, drawnRegions, labelOfRegion } from './overlay.js';
import { percent, signed, signedBar } from './page_parts.js';
import { overlays, photograph } from './picture.js';
import { STYLE } from './style.js';

/** A photograph that was explained, with its page. */
export interface ExplainedPhotograph {
  /** Its name in the index: the path below its folder. */
  name: string;
  /** What was explained: a path or bytes. */
  image: string | Uint8Array;
  /** File of its page, beside the index. */
  page: string;
  /** The class of its folder, where the performer knows one of this name. */
  truth: string | undefined;
  explanation: Explanation;
}

/** Longer side of a small picture, pixels; regions listed beside it. */
const [SIDE, REGIONS] = [220, 3];

/** Whether the performer says another class than that of the folder. */
export function isMistake({ truth, explanation }: ExplainedPhotograph): boolean {
  return truth !== undefined && explanation.prediction.name !== truth;
}

/**
 * An index of explanations as one HTML page without script or network: the performer's mistakes first, each with
 * the regions that made them, then the rest. Throws `E_FILE` when a photograph cannot be read.
 */
export async function indexPage(photographs: readonly ExplainedPhotograph[]): Promise<string> {
  const wrong = photographs.filter(isMistake);
  const known = photographs.filter(({ truth }) => truth !== undefined).length;
  const rest = photographs.filter((one) => !isMistake(one));
  const title = `${String(photographs.length)} explanations`;
  const list = async (of: readonly ExplainedPhotograph[]): Promise<string> => {
    const cards: string[] = [];
    for (const one of of) cards.push(await card(one));
    return `<div class="cards">${cards.join('')}</div>`;
  };
  const mistakes =
    wrong.length > 0
      ? `<p>The class of the folder is another than the CNN\u2019s. The sentence says what made the CNN\u2019s class ` +
        `rather than the folder\u2019s.</p>${await list(wrong)}`
      : `<p>${known > 0 ? 'None: the CNN says the class of the folder in all.' : 'Not known: no folder has the name of a class.'}</p>`;
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta http-equiv="Content-Security-Policy" ',
    `content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">`,
    `<title>${title}</title><style>${STYLE}</style></head><body>`,
    `<header><p class="kicker">partlens explanations</p><h1>${title}</h1></header><main>`,
    `<section><h2>The CNN\u2019s mistakes: ${String(wrong.length)} of ${String(known)}</h2>${mistakes}</section>`,
    `<section><h2>${wrong.length > 0 ? 'The others' : 'All photographs'}</h2>${await list(rest)}</section>`,
    `</main><footer>partlens ${VERSION}</footer></body></html>\n`,
  ].join('');
}

async function card({
  name,
  image,
  page,
  truth,
  explanation,
}: ExplainedPhotograph): Promise<string> {
  const { frame, prediction, sentence, regions } = explanation;
  const scale = Math.min(1, SIDE / Math.max(frame.width, frame.height));
  const [width, height] = [frame.width, frame.height].map((side) =>
    Math.max(1, Math.round(side * scale)),
  ) as [number, number];
  const most = Math.max(...regions.map(({ value }) => Math.abs(value)), Number.MIN_VALUE);
  const rows = drawnRegions(explanation)
    .slice(0, REGIONS)
    .map(
      (region) =>
        `<li><span>${escapeText(labelOfRegion(region))}</span><b>${signed(region.value)}</b>` +
        `${signedBar(region.value, most, colourOf(region.index))}</li>`,
    );
  const folder = truth === undefined ? '' : ` \u00b7 folder ${escapeText(truth)}`;
  const box = `${String(frame.width)} ${String(frame.height)}`;
  return [
    `<article class="card"><a href="${escapeText(encodeURIComponent(page))}">`,
    `<svg viewBox="0 0 ${box}" role="img" aria-label="${escapeText(name)}">`,
    `<image width="${String(frame.width)}" height="${String(frame.height)}" preserveAspectRatio="none" `,
    `href="${await photograph(image, { width, height })}"/>`,
    `${overlays(explanation, Math.max(frame.width, frame.height) / 90)}</svg></a>`,
    `<div><h3><a href="${escapeText(encodeURIComponent(page))}">${escapeText(prediction.name)}</a> `,
    `<small>${percent(prediction.probability)}${folder}</small></h3>`,
    `<p>${escapeText(sentence)}</p><ul class="gifts">${rows.join('')}</ul>`,
    `<small>${escapeText(name)}</small></div></article>`,
  ].join('');
}
